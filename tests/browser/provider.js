// An OpenID provider that others have written, as strict as it can be told to be. Says `ready` once it listens.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, clientId, clientSecret, redirectUri] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
  pkce: { required: () => true },
  claims: { email: ["email", "email_verified"], profile: ["name", "preferred_username"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: true, name: "Ada", preferred_username: id }),
  }),
  features: { devInteractions: { enabled: true } }, // its own pages, where any password is right
});

createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => console.log("ready"));
