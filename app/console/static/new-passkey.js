// Has the browser make a passkey, and sends it with the form (WebAuthn Level 3 §5.1).
"use strict";

const form = document.querySelector("form[data-new-passkey]");
const button = form.querySelector("button");
const problem = form.querySelector("[data-problem]");
const { credential } = form.elements;

function tell(text) {
  problem.textContent = text;
  problem.classList.toggle("d-block", text !== "");
}

// as PublicKeyCredential.parseCreationOptionsFromJSON() reads them, which not every browser has
function options(sent) {
  return {
    ...sent,
    challenge: bytes(sent.challenge),
    user: { ...sent.user, id: bytes(sent.user.id) },
    excludeCredentials: (sent.excludeCredentials || []).map((each) => ({ ...each, id: bytes(each.id) })),
  };
}

// as its toJSON() writes it
function plain(made) {
  const { response } = made;
  return {
    id: made.id,
    rawId: text(made.rawId),
    type: made.type,
    response: {
      clientDataJSON: text(response.clientDataJSON),
      attestationObject: text(response.attestationObject),
      transports: response.getTransports ? response.getTransports() : [],
    },
  };
}

form.addEventListener("submit", async (event) => {
  if (credential.value) return;
  event.preventDefault();
  tell("");
  button.disabled = true;
  try {
    const made = await navigator.credentials.create({ publicKey: options(JSON.parse(form.dataset.newPasskey)) });
    credential.value = JSON.stringify(plain(made));
  } catch (error) {
    tell(error.name === "InvalidStateError" ? form.dataset.known : form.dataset.left);
  }
  button.disabled = false;
  if (credential.value) form.submit();
});

window.addEventListener("pageshow", () => { credential.value = ""; });
if (!window.PublicKeyCredential) {
  tell(form.dataset.unable);
  button.disabled = true;
}
