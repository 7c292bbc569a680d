package shop

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

const (
	cartCookie   = "shop_cart"
	freeShipping = cents(7500)
	shippingFee  = cents(490)
)

// line is one product in a cart.
type line struct {
	Product  *product
	Quantity int
}

// Total is the price of the line.
func (l line) Total() cents { return l.Product.Price * cents(l.Quantity) }

// cart is what a customer is about to buy. It lives in the shop's own cookie, as
// "slug:quantity" joined by dots, so the shop remembers nothing of strangers.
type cart struct{ Lines []line }

// readCart reads the cart of a request. What it does not understand it leaves
// out: the cookie is the client's to write.
func (s *server) readCart(r *http.Request) *cart {
	c := &cart{}
	cookie, err := r.Cookie(cartCookie)
	if err != nil {
		return c
	}
	for part := range strings.SplitSeq(cookie.Value, ".") {
		slug, count, _ := strings.Cut(part, ":")
		p := s.catalogue.bySlug[slug]
		quantity, err := strconv.Atoi(count)
		if p == nil || err != nil {
			continue
		}
		c.set(p, c.quantity(p)+quantity)
	}
	return c
}

// set puts a product into the cart, changes its quantity or, at 0, removes it.
func (c *cart) set(p *product, quantity int) {
	quantity = min(quantity, maxQuantity)
	for i, l := range c.Lines {
		if l.Product != p {
			continue
		}
		if quantity <= 0 {
			c.Lines = append(c.Lines[:i], c.Lines[i+1:]...)
		} else {
			c.Lines[i].Quantity = quantity
		}
		return
	}
	if quantity > 0 && len(c.Lines) < maxLines {
		c.Lines = append(c.Lines, line{p, quantity})
	}
}

func (c *cart) quantity(p *product) int {
	for _, l := range c.Lines {
		if l.Product == p {
			return l.Quantity
		}
	}
	return 0
}

// Items counts the pieces.
func (c *cart) Items() int {
	n := 0
	for _, l := range c.Lines {
		n += l.Quantity
	}
	return n
}

// Subtotal is the price of all lines.
func (c *cart) Subtotal() cents {
	var sum cents
	for _, l := range c.Lines {
		sum += l.Total()
	}
	return sum
}

// Shipping is free from [freeShipping] on, and for nothing.
func (c *cart) Shipping() cents {
	if sum := c.Subtotal(); sum == 0 || sum >= freeShipping {
		return 0
	}
	return shippingFee
}

// Total is what the customer pays.
func (c *cart) Total() cents { return c.Subtotal() + c.Shipping() }

// save writes the cart into its cookie; an empty cart removes the cookie.
func (c *cart) save(w http.ResponseWriter) {
	parts := make([]string, len(c.Lines))
	for i, l := range c.Lines {
		parts[i] = l.Product.Slug + ":" + strconv.Itoa(l.Quantity)
	}
	age := 30 * 24 * 3600
	if len(parts) == 0 {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{Name: cartCookie, Value: strings.Join(parts, "."), Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func (s *server) showCart(w http.ResponseWriter, r *http.Request) {
	private(w)
	s.send(w, r, http.StatusOK, "cart", view{Title: "Your cart · Marsh & Reed", Content: s.readCart(r)})
}

func (s *server) addToCart(w http.ResponseWriter, r *http.Request) {
	s.changeCart(w, r, func(c *cart, p *product, quantity int) { c.set(p, c.quantity(p)+max(1, quantity)) })
}

func (s *server) updateCart(w http.ResponseWriter, r *http.Request) {
	s.changeCart(w, r, func(c *cart, p *product, quantity int) { c.set(p, quantity) })
}

func (s *server) removeFromCart(w http.ResponseWriter, r *http.Request) {
	s.changeCart(w, r, func(c *cart, p *product, _ int) { c.set(p, 0) })
}

// changeCart applies one form with the fields product and quantity.
func (s *server) changeCart(w http.ResponseWriter, r *http.Request, change func(c *cart, p *product, quantity int)) {
	private(w)
	p := s.catalogue.bySlug[r.PostFormValue("product")]
	if p == nil {
		s.send(w, r, http.StatusNotFound, "notfound", view{Title: "Not found · Marsh & Reed"})
		return
	}
	quantity, err := strconv.Atoi(r.PostFormValue("quantity"))
	if err != nil {
		quantity = 1
	}
	c := s.readCart(r)
	change(c, p, max(0, min(quantity, maxQuantity)))
	c.save(w)
	http.Redirect(w, r, "/cart", http.StatusSeeOther)
}

// apiCart answers with the cart as JSON; the script of every page reads its count.
func (s *server) apiCart(w http.ResponseWriter, r *http.Request) {
	type apiLine struct {
		Product  string `json:"product"`
		Name     string `json:"name"`
		Quantity int    `json:"quantity"`
		Total    string `json:"total"`
	}
	c := s.readCart(r)
	lines := make([]apiLine, len(c.Lines))
	for i, l := range c.Lines {
		lines[i] = apiLine{l.Product.Slug, l.Product.Name, l.Quantity, l.Total().Plain()}
	}
	private(w)
	s.writeJSON(w, r, map[string]any{"items": c.Items(), "total": c.Total().Plain(), "currency": "EUR", "lines": lines})
}

// apiProducts answers with the catalogue as JSON.
func (s *server) apiProducts(w http.ResponseWriter, r *http.Request) {
	type apiProduct struct {
		Slug     string `json:"slug"`
		Name     string `json:"name"`
		Category string `json:"category"`
		Price    string `json:"price"`
		Currency string `json:"currency"`
		URL      string `json:"url"`
		Image    string `json:"image"`
	}
	list := make([]apiProduct, len(s.catalogue.products))
	for i, p := range s.catalogue.products {
		list[i] = apiProduct{p.Slug, p.Name, p.Category, p.Price.Plain(), "EUR", "/product/" + p.Slug, "/images/" + p.Slug + ".svg"}
	}
	w.Header().Set("Cache-Control", "public, max-age=60")
	s.writeJSON(w, r, map[string]any{"products": list})
}

func (s *server) writeJSON(w http.ResponseWriter, r *http.Request, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.fail(w, "encode JSON", err)
		return
	}
	s.write(w, r, http.StatusOK, "application/json", append(body, '\n'))
}
