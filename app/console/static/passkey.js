// A passkey signs what the page brings along, and a plain form carries it to the server.
"use strict";

const AGE = 240000; // ms after which the page's challenge is fetched anew: it is good for five minutes
const forms = document.querySelectorAll("form[data-passkey]");
let waiting = null; // what stops the offer in the field of the name
let madeAt = Date.now();

function read(options) {
  if (PublicKeyCredential.parseRequestOptionsFromJSON) return PublicKeyCredential.parseRequestOptionsFromJSON(options);
  const allowed = (options.allowCredentials || []).map((each) => ({ ...each, id: bytes(each.id) }));
  return { ...options, challenge: bytes(options.challenge), allowCredentials: allowed };
}

function written(credential) {
  if (credential.toJSON) return JSON.stringify(credential);
  const { clientDataJSON, authenticatorData, signature, userHandle } = credential.response;
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response: {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  });
}

// The page that asks has another challenge every time.
async function renew(form) {
  const address = form.action.replace(/\/passkey$/, "");
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.querySelector("form[data-passkey]");
  if (!found) throw new Error("the page is another one by now");
  form.dataset.passkey = found.dataset.passkey;
  madeAt = Date.now();
}

async function sign(form, more) {
  const options = read(JSON.parse(form.dataset.passkey));
  const credential = await navigator.credentials.get({ publicKey: options, ...more });
  form.elements.credential.value = written(credential);
  form.submit();
}

// The browser offers passkeys where the name is typed.
async function offer(form) {
  const can = await PublicKeyCredential.isConditionalMediationAvailable?.();
  if (!can || !document.querySelector("input[autocomplete~=webauthn]")) return;
  waiting = new AbortController();
  sign(form, { mediation: "conditional", signal: waiting.signal }).catch(() => {});
}

for (const form of window.PublicKeyCredential ? forms : []) {
  for (const each of document.querySelectorAll("[data-with-passkey]")) each.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const trouble = form.querySelector("[data-trouble]");
    trouble.hidden = true;
    waiting?.abort();
    try {
      if (Date.now() - madeAt > AGE) await renew(form);
      await sign(form, {});
    } catch {
      trouble.hidden = false;
      offer(form);
    }
  });
  offer(form);
  setInterval(async () => {
    if (!waiting || waiting.signal.aborted || document.hidden) return;
    try {
      await renew(form);
      waiting.abort();
      offer(form);
    } catch {
      // the next one may
    }
  }, AGE);
}
