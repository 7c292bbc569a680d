package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const crashConfig = `
upstreams:
  - name: site
    url: %s
routes:
  - name: everything
    upstream: site
segments:
  - name: loyal
    when: visitor.orders >= 2
plugins:
  - name: content
    builtin: content
    in_process: true
experiences:
  - name: warm-greeting
    pages: ["/"]
    experiment: greeting
    arm: warm
    edits:
      - select: h1
        op: set_inner
        text: Hello
experiments:
  - name: greeting
    arms:
      - name: plain
      - name: warm
goals:
  - name: purchase
    event: Order Completed
    revenue: revenue
    order: order_id
  - name: newsletter
    event: Newsletter Signup
`

// A node that is killed again and again, at any moment (also while it starts),
// under visitors who look at pages, order and sign up, and who send again what was
// not acknowledged, and now and then what was: the report holds everything that
// was acknowledged exactly once, and all visitors stay in their segments.
func TestCrashLoop(t *testing.T) {
	kills, visitors := 8, 12
	if os.Getenv("SEDGE_SOAK") == "1" {
		kills, visitors = 60, 40
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "<!doctype html><title>site</title><h1>Site</h1>")
	}))
	t.Cleanup(origin.Close)
	config := filepath.Join(t.TempDir(), "sedge.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, crashConfig, origin.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startServe(t, binary, config)

	var stop atomic.Bool
	var group sync.WaitGroup
	t.Cleanup(func() { stop.Store(true); group.Wait() })
	customers := make([]*customer, visitors)
	for i := range customers {
		c := &customer{client: newClient(t, n.site), name: fmt.Sprintf("c%d", i), random: rand.New(rand.NewPCG(uint64(i), 7))}
		c.client.page("/") // before the first crash, so that the cookie is sure to have arrived
		customers[i] = c
		group.Go(func() { c.live(&stop) })
	}
	for kill := range kills {
		pause := time.NewTimer(time.Duration(20+rand.IntN(600)) * time.Millisecond)
		<-pause.C
		n.kill()
		if kill%4 == 3 { // and once more while it starts
			n.spawn()
			pause.Reset(time.Duration(rand.IntN(150)) * time.Millisecond)
			<-pause.C
			n.kill()
		}
		n.launch()
	}
	stop.Store(true)
	group.Wait()

	var want customer
	for _, c := range customers {
		if c.failure != "" {
			t.Fatalf("%s: %s", c.name, c.failure)
		}
		want.orders += c.orders
		want.signups += c.signups
		want.cents += c.cents
		want.again += c.again
		c.client.page("/") // so that everybody met the experiment
	}
	t.Logf("%d kills; acknowledged: %d orders worth %.2f, %d sign-ups; %d calls sent more than once",
		kills, want.orders, float64(want.cents)/100, want.signups, want.again)
	check := func() error {
		r := n.report()
		orders, signups := r.goal("purchase"), r.goal("newsletter")
		switch cents := int64(orders.Revenue*100 + 0.5); {
		case r.Site.Visitors != int64(visitors), r.Site.Sessions != int64(visitors):
			return fmt.Errorf("%d visitors in %d sessions, want %d each", r.Site.Visitors, r.Site.Sessions, visitors)
		case orders.Conversions != want.orders || cents != want.cents:
			return fmt.Errorf("%d orders worth %d cents, want %d worth %d", orders.Conversions, cents, want.orders, want.cents)
		case signups.Conversions != want.signups:
			return fmt.Errorf("%d sign-ups, want %d", signups.Conversions, want.signups)
		case r.Site.Conversions != want.orders+want.signups:
			return fmt.Errorf("%d conversions, want %d", r.Site.Conversions, want.orders+want.signups)
		case len(r.Experiments) != 1 || r.Experiments[0].Arms[0].Visitors+r.Experiments[0].Arms[1].Visitors != int64(visitors):
			return fmt.Errorf("experiments %+v, want %d visitors in two arms", r.Experiments, visitors)
		}
		return nil
	}
	waitFor(t, 30*time.Second, "the report holds what was acknowledged", check)
	for _, c := range customers {
		c.check(t)
	}
	// What stands in the files is the same, and a start that repeats nothing adds nothing.
	if err := n.stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	n.launch()
	if err := check(); err != nil {
		t.Errorf("after a stop in order: %v", err)
	}
}

// customer is a visitor who sends each event until it is acknowledged.
type customer struct {
	client  *client
	name    string
	random  *rand.Rand
	failure string

	calls, orders, signups, cents, again int64 // acknowledged
}

func (c *customer) live(stop *atomic.Bool) {
	last := ""
	for !stop.Load() && c.failure == "" {
		switch c.random.IntN(6) {
		case 0:
			_, _ = c.client.try(http.MethodGet, "/", "") // not acknowledged, may fail
			continue
		case 1:
			if last != "" { // an answer that did not arrive looks like this
				c.again++
				c.deliver(last, "batch")
			}
			continue
		}
		body := c.batch()
		c.deliver(body, "batch")
		last = body
	}
}

// batch makes one to three events, and counts them.
func (c *customer) batch() string {
	var items []string
	for range 1 + c.random.IntN(3) {
		c.calls++
		id := fmt.Sprintf("%s-%d", c.name, c.calls)
		if c.random.IntN(3) > 0 {
			c.signups++
			items = append(items, fmt.Sprintf(`{"type":"track","messageId":%q,"event":"Newsletter Signup"}`, id))
			continue
		}
		cents := 1 + c.random.Int64N(100_00)
		c.orders++
		c.cents += cents
		items = append(items, fmt.Sprintf(`{"type":"track","messageId":%q,"event":"Order Completed","properties":{"order_id":"order-%s","revenue":%d.%02d}}`,
			id, id, cents/100, cents%100))
	}
	return `{"batch":[` + strings.Join(items, ",") + `]}`
}

// deliver sends a call until it is acknowledged.
func (c *customer) deliver(body, kind string) {
	for attempt := 0; ; attempt++ {
		a, err := c.client.try(http.MethodPost, "/_sedge/v1/"+kind, body, "Content-Type", "application/json", "Sec-Fetch-Dest", "empty", "Accept", "*/*")
		switch {
		case err == nil && a.status == http.StatusOK:
			return
		case err == nil && a.status < 500 && a.status != http.StatusTooManyRequests:
			c.failure = fmt.Sprintf("status %d: %s", a.status, a.body)
			return
		case attempt > 5000 || c.client.t.Context().Err() != nil:
			c.failure = fmt.Sprintf("no answer: %v", err)
			return
		}
		c.again++
		pause := time.NewTimer(10 * time.Millisecond) // the node is down; a client backs off
		<-pause.C
	}
}

// check asks the node what it knows of the visitor.
func (c *customer) check(t *testing.T) {
	t.Helper()
	var me struct {
		Known   bool    `json:"known"`
		Segment string  `json:"segment"`
		Orders  int64   `json:"orders"`
		Revenue float64 `json:"revenue"`
	}
	a := c.client.do(http.MethodGet, "/_sedge/v1/me", "", "Sec-Fetch-Dest", "empty")
	if err := json.Unmarshal([]byte(a.body), &me); err != nil {
		t.Fatalf("me: %v in %s", err, a.body)
	}
	segment := ""
	if c.orders >= 2 {
		segment = "loyal"
	}
	if !me.Known || me.Segment != segment || me.Orders != c.orders || int64(me.Revenue*100+0.5) != c.cents {
		t.Errorf("%s: %+v, want segment %q, %d orders worth %d cents", c.name, me, segment, c.orders, c.cents)
	}
}
