"""GPUStack's list of users, as one of its administrators may read it by a key."""

from msgspec import Struct

from app.gpustack import answers
from app.gpustack.answers import PAGE, Account, GpustackMisconfigured, KeyRefused, Page
from app.gpustack.instance import Instance, State
from app.outbound import MAX_BYTES, Answer

PAGE_SECONDS = 10.0  # it makes a page in some 0.05 s; a busy one may take its time, nobody is waiting
MOST_PAGES = 10_000  # a million users


class Listed(Struct, frozen=True):
    """Everybody that GPUStack has listed, by id, and whose key that was."""

    accounts: dict[int, Account]
    reader: Account


class Directory:
    """Reads the list by GPUSTACK_API_KEY; `has_key` if there is one. Every question may say that nothing can be said.

    GpustackAway, GpustackMisconfigured: as for `Instance.verify`; KeyRefused: by 401 and 403.
    """

    def __init__(self, instance: Instance, key: str) -> None:
        self.has_key = key not in ("", "off")
        self._instance = instance
        self._headers = {"Authorization": f"Bearer {key}"}

    @property
    def can_be_asked(self) -> bool:
        """As far as is known: it was there at the last look."""
        return self._instance.state is State.OK

    async def everybody(self) -> Listed:
        """The pages in a fixed order: GPUStack's own order may skip rows between two of them."""
        reader = await self.reader()
        found: dict[int, Account] = {}
        number, pages = 1, 1
        while number <= pages:
            page = answers.read(await self._get(f"/users?page={number}&perPage={PAGE}&sort_by=username"), Page)
            pages = page.pagination.pages
            if pages > MOST_PAGES:
                raise GpustackMisconfigured("more pages than it can have users")
            found |= {account.id: account for account in page.items}
            number += 1
        return Listed(found, reader)

    async def reader(self) -> Account:
        """Whose key it is."""
        return answers.read(await self._get("/users/me"), Account)

    async def account(self, user_id: int) -> Account | None:
        """The user of this id as he is now; None if its own 404 says that there is none."""
        answer = await self._get(f"/users/{user_id}")
        if answer.status == answers.NOT_FOUND:
            answers.said(answer)
            return None
        account = answers.read(answer, Account)
        if account.id != user_id:
            raise GpustackMisconfigured("another user than was asked for")
        return account

    async def _get(self, path: str) -> Answer:
        answer = await self._instance.ask(path, self._headers, seconds=PAGE_SECONDS, most=MAX_BYTES)
        if answer.status in (answers.UNAUTHORIZED, answers.FORBIDDEN):
            raise KeyRefused(f"status {answer.status} for GPUSTACK_API_KEY")
        return answer
