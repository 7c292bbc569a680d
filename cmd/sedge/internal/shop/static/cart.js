// Pages are the same for everyone; the count of the cart comes from the cart.
fetch("/api/cart", {credentials: "same-origin"})
  .then((answer) => (answer.ok ? answer.json() : {items: 0}))
  .then((cart) => {
    const badge = document.querySelector("[data-cart-count]");
    if (badge && cart.items > 0) {
      badge.textContent = cart.items;
      badge.hidden = false;
    }
  })
  .catch(() => {});
