// What pages do beyond what HTML does. Without it, all of them work.
"use strict";

// A form is sent once, however often its button is pressed; again, if one comes back to the page.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "1";
  form.querySelectorAll("button").forEach((button) => button.setAttribute("aria-disabled", "true"));
  if (form.hasAttribute("data-stays")) setTimeout(() => release(form), 1500);
});
function release(form) {
  delete form.dataset.sent;
  form.querySelectorAll("button").forEach((button) => button.removeAttribute("aria-disabled"));
}
window.addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(release));

// A file that is too large is told of before it is sent.
for (const input of document.querySelectorAll("input[data-most]")) {
  input.addEventListener("change", () => {
    const size = input.files[0]?.size ?? 0;
    input.setCustomValidity(size > Number(input.dataset.most) ? input.dataset.tooLarge : "");
    input.reportValidity();
  });
}

// A link from a mail has its token behind the #, which browsers send to no server. It goes into the form, and away;
// and along behind the # of where its forms lead, so that it is there when a password is refused, or another language is
// chosen. A second link in the same window loads no page anew.
function takeFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.get("token")) return;
  const form = document.querySelector("form[data-from-fragment]");
  if (form) {
    form.elements.token.value = given.get("token");
    if (given.get("tenant")) form.elements.tenant.value = given.get("tenant");
    const isRefused = document.querySelector("main > [role=alert]") && !form.querySelector("[type=password][aria-invalid]");
    form.querySelector("[data-without-fragment]").hidden = !isRefused; // then another one may be pasted
    for (const one of document.querySelectorAll("form[data-from-fragment], form.languages")) {
      one.setAttribute("action", one.getAttribute("action").split("#")[0] + location.hash);
    }
  }
  history.replaceState(null, "", location.pathname + location.search);
}
takeFragment();
window.addEventListener("hashchange", takeFragment);

// What was done is said once.
if (new URLSearchParams(location.search).has("done")) {
  const here = new URL(location.href);
  here.searchParams.delete("done");
  history.replaceState(null, "", here.pathname + here.search);
}

// Times, as the reader's clock has them, in the page's language and as the reader's country writes it.
const tongue = document.documentElement.lang;
const own = navigator.languages.find((one) => one.split("-")[0] === tongue) ?? tongue;
const words = new Intl.DateTimeFormat(own, { dateStyle: "medium", timeStyle: "short" });
function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.textContent;
    time.textContent = words.format(new Date(time.dateTime));
  }
}
localise(document);
document.addEventListener("htmx:afterSwap", (event) => localise(event.target));

// A refused form: to where something has to be corrected.
document.querySelector("[aria-invalid=true]")?.focus();

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = button.dataset.copied;
});
