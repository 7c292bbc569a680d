package shop

import (
	"encoding/base32"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// orderNumbers gives out order ids.
type orderNumbers struct {
	mu     sync.Mutex
	random io.Reader
	last   int
}

// next returns an id like "7KQ2M-1001". The count starts anew with every start;
// the random part keeps orders of two starts apart.
func (o *orderNumbers) next() (string, error) {
	var b [4]byte
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := io.ReadFull(o.random, b[:]); err != nil {
		return "", fmt.Errorf("read randomness for an order id: %w", err)
	}
	o.last++
	return base32.StdEncoding.EncodeToString(b[:])[:5] + "-" + strconv.Itoa(1000+o.last), nil
}

// delivery is the checkout form.
type delivery struct {
	Name, Email, Street, Postcode, City, Payment string
}

func readDelivery(r *http.Request) delivery {
	field := func(name string) string { return clip(r.PostFormValue(name), maxField) }
	return delivery{field("name"), field("email"), field("street"), field("postcode"), field("city"), field("payment")}
}

// missing names the first field that has to be corrected, "" for none.
func (d delivery) missing() string {
	switch {
	case d.Name == "":
		return "your name"
	case !strings.Contains(d.Email, "@"):
		return "your e-mail address"
	case d.Street == "":
		return "street and number"
	case d.Postcode == "" || d.City == "":
		return "postcode and city"
	}
	return ""
}

func (s *server) showCheckout(w http.ResponseWriter, r *http.Request) {
	c := s.readCart(r)
	private(w)
	if len(c.Lines) == 0 {
		http.Redirect(w, r, "/cart", http.StatusSeeOther)
		return
	}
	form := delivery{}
	if customer, ok := s.sessions.of(r); ok {
		form.Name, form.Email = customer.Name, customer.Email
	}
	s.sendCheckout(w, r, http.StatusOK, c, form, "")
}

func (s *server) sendCheckout(w http.ResponseWriter, r *http.Request, status int, c *cart, form delivery, missing string) {
	s.send(w, r, status, "checkout", view{
		Title:   "Checkout · Marsh & Reed",
		Content: map[string]any{"Cart": c, "Form": form, "Missing": missing},
	})
}

// placeOrder takes the order and sends the customer to the thank-you page, whose
// address says which order it was and what it cost.
func (s *server) placeOrder(w http.ResponseWriter, r *http.Request) {
	private(w)
	c, form := s.readCart(r), readDelivery(r)
	if len(c.Lines) == 0 {
		http.Redirect(w, r, "/cart", http.StatusSeeOther)
		return
	}
	if missing := form.missing(); missing != "" {
		s.sendCheckout(w, r, http.StatusUnprocessableEntity, c, form, missing)
		return
	}
	number, err := s.orders.next()
	if err != nil {
		s.fail(w, "place order", err)
		return
	}
	total := c.Total()
	s.sessions.ordered(r, order{Number: number, Items: c.Items(), Total: total})
	(&cart{}).save(w)
	query := url.Values{"order": {number}, "total": {total.Plain()}}
	http.Redirect(w, r, "/thank-you?"+query.Encode(), http.StatusSeeOther)
}

func (s *server) thankYou(w http.ResponseWriter, r *http.Request) {
	private(w)
	q := r.URL.Query()
	s.send(w, r, http.StatusOK, "thanks", view{
		Title:   "Thank you · Marsh & Reed",
		Content: map[string]any{"Order": clip(q.Get("order"), 40), "Total": clip(q.Get("total"), 20)},
	})
}
