// The shop around the banner: shoes to look at, and an account to log in to.
import { signIn, signOut, track, user } from "./choices.js";

const [login, logout, who] = ["login", "logout", "who"].map((id) => document.getElementById(id));

function tell() {
  const { userId, identityProof } = user() ?? {};
  login.hidden = Boolean(userId);
  logout.hidden = !userId;
  who.textContent = userId ? `${userId}, ${identityProof ? "vouched for" : "not vouched for"}` : "";
}

document.addEventListener("click", ({ target }) => {
  const { product, name, price } = target.dataset;
  if (product) track("Product Viewed", { product_id: product, name, price: Number(price) });
});

login.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const userId = login.user.value;
  const answer = await fetch("login", { method: "POST", body: JSON.stringify({ userId }) });
  const { identityProof } = await answer.json();
  await signIn(userId, login.vouched.checked ? identityProof : undefined);
  tell();
  logout.querySelector("button").focus();
});

logout.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  await signOut();
  tell();
  login.user.focus();
});

tell();
