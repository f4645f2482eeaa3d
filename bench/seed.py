"""`python -m bench.seed URL [--users N] [--sessions N]`: fill a migrated database as one of years of use is filled.

By SQL alone: a million users and three million sessions take some minutes. Sessions are those of the last DAYS days, in
the order of their beginning; two thirds of them have begun within the 30 days that one lasts, and some have been ended.
"""

import argparse
import asyncio

import asyncpg

BATCH = 100_000  # rows a transaction
DAYS = 44  # back to the first session: the last 30 days' are live, those before have expired
WAYS = (  # how who signed in showed who he is, and how many of a hundred sessions that was
    (70, "{pwd}"),
    (82, "{pwd,otp,mfa}"),
    (88, "{pop,user,mfa}"),
    (99, "{fed}"),
    (100, "{pwd,offline}"),
)
SYSTEMS = (
    ("Windows", "Windows NT 10.0; Win64; x64"),
    ("macOS", "Macintosh; Intel Mac OS X 10_15_7"),
    ("Linux", "X11; Linux x86_64"),
    ("Android", "Linux; Android 10; K"),
    ("iPhone", "iPhone; CPU iPhone OS 18_5 like Mac OS X"),
)
BROWSERS = (("Chrome", range(139, 144)), ("Firefox", range(140, 142)), ("Safari", range(18, 19)))
AGENTS = [
    (f"{browser} on {system}", f"Mozilla/5.0 ({platform}) {browser}/{version}.0{' Mobile' * (system == 'iPhone')}")
    for version in range(18, 144)
    for browser, versions in BROWSERS
    if version in versions
    for system, platform in SYSTEMS
]

GIVEN = (
    "Ada Maria Anna Grace Mary Karen Jean Barbara Frances Radia Margaret Hedy Sophie Emmy Katherine Dorothy Joan "
    "Marlyn Ruth Betty Kathleen Adele Lynn Shafi Edith Evelyn Irene Rosa Alan John Marvin Donald Edsger Niklaus Tony "
    "Robin Dennis Ken Brian Bjarne Guido Linus Vint Robert Paul Leslie Butler Charles Claude Kurt David Emil Felix "
    "Georg Hans Ivan Juan Kwame Luis Otto Quentin Umberto Wolfgang Xavier Yuki Zeno"
)
HEADS = (
    "Ab An Bar Ber Bor Cal Car Dal Del Dor Ed El Fer Gal Gor Ham Har Hol Jan Kar Kel Lan Lin Lov Mac Mar Mer Mil Nor"
)
TAILS = "a ac an ard berg bridge by call don elace en er ers es ford gate ham ic in ing kov land ler ley man mond more"
HEADS += " Ol Par Per Quin Ram Ros San Shan Ste Tar Tho Tur Ull Van Wal Wes Wil Xan Yor Zel"
TAILS += " nell ner o ora os ot ov ow ski son sen stein stone ström ton ura us van vich ville well wood worth y"
FAMILY = [f"{head}{tail}" for tail in TAILS.split() for head in HEADS.split()]
ROLES = (("staff", 0.30), ("editor", 0.02), ("clerk", 0.0005))  # and how many of all hold it
PROVIDER = "gpustack"  # of a twentieth

# Names are drawn so that some are far more frequent than others, as they are. Ids rise with time, but for a day.
USERS = """
    WITH drawn AS (
        SELECT n, ($3::text[])[1 + floor(random() ^ 2 * cardinality($3::text[]))::int] AS given,
               ($4::text[])[1 + floor(random() ^ 1.5 * cardinality($4::text[]))::int] AS family,
               interval '3 years' * (1 - (n - $6) / $7::float8) + interval '1 day' * random() AS age
        FROM generate_series($1::bigint, $2::bigint) n
    )
    INSERT INTO users (provider, username, email, full_name, is_active, created_at, last_login)
    SELECT CASE WHEN n % 20 = 0 THEN $5 ELSE 'local' END,
           lower(given) || '.' || translate(lower(family), 'ö', 'o') || n,
           CASE WHEN n % 10 > 0 THEN
               lower(given) || n || '@' || (ARRAY['example.org', 'example.com', 'mail.example.net'])[1 + n % 3] END,
           CASE WHEN n % 25 > 0 THEN given || ' ' || family END, n % 50 > 0, now() - age,
           CASE WHEN n % 7 > 0 THEN now() - least(interval '90 days' * random(), age) END
    FROM drawn
"""
# What some of them have: a role, an identity elsewhere, a passkey.
HELD = (
    "INSERT INTO user_roles (user_id, role) SELECT id, $2 FROM users WHERE id >= $1 AND random() < $3::float8",
    """
    INSERT INTO identities (id, user_id, provider, issuer, subject)
    SELECT gen_random_uuid(), id, 'corporate', 'https://login.example.net', 'subject-' || id
    FROM users WHERE id >= $1 AND random() < 0.1
    """,
    """
    INSERT INTO passkeys (id, user_id, credential_id, public_key, sign_count, name, transports, backed_up)
    SELECT gen_random_uuid(), id, decode(md5(id::text), 'hex'), 'none', 0, 'laptop', '{}', true
    FROM users WHERE id >= $1 AND random() < 0.05
    """,
)
SESSIONS = """
    WITH made AS (
        SELECT n, md5(n::text || random()) AS noise, random() AS way, random() AS end_of_it, random() AS named,
               now() - interval '1 day' * ($11 + $5::float8 * (1 - n / $3::float8)) - interval '1 ms' * random()
               AS created_at,
               $4::bigint + floor(random() * $6)::bigint AS user_id,
               1 + floor(random() ^ 2.5 * cardinality($7::text[]))::int AS agent
        FROM generate_series($1::bigint, $2::bigint) n
    )
    INSERT INTO sessions (id, user_id, created_at, auth_time, last_accessed, expires_at, amr, ip_address, user_agent,
                          device_name, generation, revoked_at, revoked_reason)
    SELECT (lpad(to_hex(floor(1000 * extract(epoch FROM created_at))::bigint), 12, '0') || '7' || substr(noise, 1, 3)
            || '8' || substr(noise, 4, 15))::uuid,
           user_id, created_at, created_at, created_at + (now() - created_at) * random(),
           created_at + interval '30 days', (SELECT w FROM unnest($9::int[], $10::text[]) AS o (upto, w)
                                             WHERE 100 * way < upto ORDER BY upto LIMIT 1)::text[],
           CASE WHEN n % 20 = 0 THEN inet '2001:db8::' + floor(random() * 1e12)::bigint
                ELSE (ARRAY['10.0.0.0', '81.0.0.0', '91.0.0.0', '203.0.0.0'])[1 + n % 4]::inet
                     + floor(random() * 16777216)::bigint END,
           ($7::text[])[agent],
           CASE WHEN named < 0.02 THEN 'laptop ' || n % 1000 ELSE ($8::text[])[agent] END,
           floor(20 * random()),
           CASE WHEN end_of_it < 0.12 THEN created_at + (least(now(), created_at + interval '30 days') - created_at)
                                                        * random() END,
           CASE WHEN end_of_it < 0.12 THEN 'logout' END
    FROM made
"""


async def users(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> int:
    """So many more users, with roles, identities and passkeys; the first one's id, from which the others count up."""
    before: int = await connection.fetchval("SELECT coalesce(max(id), 0) FROM users")
    for start in range(before + 1, before + number + 1, BATCH):
        end = min(start + BATCH - 1, before + number)
        values = start, end, GIVEN.split(), FAMILY, PROVIDER, before, number
        await connection.execute(USERS, *values, timeout=600)
    first: int = await connection.fetchval("SELECT min(id) FROM users WHERE id > $1", before)
    hold, *keep = HELD
    for role, share in ROLES:
        await connection.execute("INSERT INTO roles (name) VALUES ($1) ON CONFLICT DO NOTHING", role)
        await connection.execute(hold, first, role, share, timeout=600)
    await connection.execute("UPDATE role_table SET number = number + 1")
    for statement in keep:
        await connection.execute(statement, first, timeout=600)
    return first


async def sessions(
    connection: "asyncpg.Connection[asyncpg.Record]", number: int, first_user: int, people: int, before: int = 0
) -> None:
    """So many more sessions, of so many users from the first one on; the last one began `before` days ago."""
    names, agents = zip(*AGENTS, strict=True)
    shares, ways = zip(*WAYS, strict=True)
    for start in range(1, number + 1, BATCH):
        end = min(start + BATCH - 1, number)
        await connection.execute(
            SESSIONS, start, end, number, first_user, DAYS, people, agents, names, shares, ways, before, timeout=600
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=3_000_000)
    arguments = parser.parse_args()
    connection = await asyncpg.connect(arguments.url)
    try:
        first = await users(connection, arguments.users)
        await sessions(connection, arguments.sessions, first, arguments.users)
        await connection.execute("VACUUM ANALYZE", timeout=600)
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
