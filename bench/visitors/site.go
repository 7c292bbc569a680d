package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sedge-proxy/sedge/bench/internal/rig"
)

const (
	products = 12 // of the page, each with an element that the experiment changes

	// eventsPerView are the page view, the trigger of the experiment and the delivery.
	eventsPerView = 3
)

// tiers are the segments, each with every third visitor. Their names differ in length,
// and so do their pages.
func tiers() []string { return []string{"new", "returning", "loyal"} }

// configuration has the segments, the experiment and the edits of peers.yaml.tmpl.
func configuration(profiles int, origin string) string {
	text := fmt.Sprintf(`server:
  access_log: false # as of nginx
  max_queue_delay: 10s # neighbours of the benchmark are no reason to refuse anybody
  personalize_budget: 10s # nor to leave edits out
profile: {max_entries: %d}
upstreams: [{name: origin, url: "http://%s"}]
routes: [{name: all, upstream: origin, cache: {ttl: 1h, bypass_cookies: [none]}}]
segments:
  - {name: loyal, priority: 30, when: 'traits["tier"] == "loyal"'}
  - {name: returning, priority: 20, when: 'traits["tier"] == "returning"'}
  - {name: new, priority: 10, when: "true"}
experiments: [{name: cta, arms: [{name: with, weight: 1}, {name: without, weight: 1}]}]
experiences:
`, profiles, origin)
	for _, tier := range tiers() {
		text += fmt.Sprintf(`  - name: hero-%[1]s
    segment: %[1]s
    pages: ["/**"]
    edits:
      - {select: "#hero h1", op: set_inner, text: "Welcome, %[1]s"}
      - {select: main, op: append, html: "<p class=banner>Free delivery, %[1]s</p>"}
  - name: cta-%[1]s
    segment: %[1]s
    experiment: cta
    arm: with
    pages: ["/**"]
    edits: [{select: .cta, op: set_attribute, name: data-variant, value: %[1]s}]
`, tier)
	}
	return text
}

// edited returns the page as visitors of a segment see it, in one arm and in the other.
func edited(tier string) [2][]byte {
	without := strings.NewReplacer("<h1>Welcome</h1>", "<h1>Welcome, "+tier+"</h1>",
		"</main>", "<p class=banner>Free delivery, "+tier+"</p></main>").Replace(string(rig.Page(products)))
	with := regexp.MustCompile("<a class=cta [^>]*").ReplaceAllString(without, `$0 data-variant="`+tier+`"`)
	return [2][]byte{[]byte(with), []byte(without)}
}

// site is a node with its visitors.
type site struct {
	*rig.Node
	dir, config string
	visitors    []*visitor
	calls       int64 // of identify
	asked       int   // requests so far

	written int64         // bytes that the last load had written to the disk
	drained time.Duration // and how long the ledger was behind it
}

// visitor is one of a site's visitors.
type visitor struct {
	tier, cookie string
	pages        *[2][]byte   // one of them is the visitor's
	length       atomic.Int64 // of the visitor's page, 0 before the first
	views        atomic.Int64 // pages sent
}

// startSite starts a node, and has it make so many visitors.
func startSite(binary, dir, config string, count, conns int) (*site, error) {
	s := &site{dir: dir, config: config, visitors: make([]*visitor, count), calls: int64(count)}
	var err error
	if s.Node, err = rig.StartNode(binary, dir, config); err != nil {
		return nil, err
	}
	pages := map[string]*[2][]byte{}
	for _, tier := range tiers() {
		both := edited(tier)
		pages[tier] = &both
	}
	err = load(s.Site, conns, count, func(c *rig.Conn, i int) error {
		tier := tiers()[i%len(tiers())]
		v := &visitor{tier: tier, pages: pages[tier]}
		s.visitors[i] = v
		traits := fmt.Sprintf(`{"traits": {"tier": %q}}`, v.tier)
		request := fmt.Sprintf("POST /_sedge/v1/identify HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", browser, len(traits), traits)
		a, err := send(c, request, nil)
		if v.cookie = a.Cookie; err == nil && v.cookie == "" {
			err = errors.New("identify gave no cookie")
		}
		return err
	})
	if err == nil {
		err = s.settle()
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("make %d visitors: %w; the node says: %s", count, err, s.Log())
	}
	return s, nil
}

// cost lets all visitors ask for the page in turn, and returns the CPU time of each
// request in us, with all that is recorded of it.
func (s *site) cost(requests, conns int) (float64, error) {
	before, err := s.Written()
	if err != nil {
		return 0, err
	}
	cost, err := costOf(s.Process, requests, func() error {
		err := ask(s.Site, s.visitors, s.asked, requests, conns, (*visitor).saw)
		if s.asked += requests; err != nil {
			return fmt.Errorf("%w; the node says: %s", err, s.Log())
		}
		return s.settle()
	})
	if err != nil {
		return 0, err
	}
	after, err := s.Written()
	s.written = after - before
	return cost, err
}

// saw takes what the visitor was sent. The first page is held against what it should be,
// the others by their length, which each segment and arm has of its own.
func (v *visitor) saw(length int, body []byte) error {
	v.views.Add(1)
	known := int(v.length.Load())
	switch {
	case known == 0 && !bytes.Equal(body, v.pages[0]) && !bytes.Equal(body, v.pages[1]):
		return fmt.Errorf("the page of segment %s is not as it should be: %.300q", v.tier, body)
	case known == 0:
		v.length.Store(int64(length))
	case known != length:
		return fmt.Errorf("a page of %d bytes in the place of %d", length, known)
	}
	return nil
}

// sent returns how many pages were sent to visitors of a segment, "" for all.
func (s *site) sent(tier string) (views int64) {
	for _, v := range s.visitors {
		if tier == "" || v.tier == tier {
			views += v.views.Load()
		}
	}
	return views
}

// expected returns how many events the ledger should have applied.
func (s *site) expected() int64 { return s.calls + eventsPerView*s.sent("") }

// settleLimit bounds the wait for the ledger.
const settleLimit = 60 * time.Second

// settle waits until the ledger has applied all events, or has none to apply although
// some are missing, which is for check to tell.
func (s *site) settle() error {
	began := time.Now()
	for applied := -1.0; ; time.Sleep(50 * time.Millisecond) {
		m, err := s.metrics()
		if err != nil {
			return err
		}
		s.drained = time.Since(began)
		idle := m["sedge_event_log_queue_bytes"]+m["sedge_ledger_lag_bytes"] == 0 && m["sedge_ledger_events_total"] == applied
		applied = m["sedge_ledger_events_total"]
		if int64(applied) >= s.expected() || idle || s.drained > settleLimit {
			return nil
		}
	}
}

// metrics returns the node's metrics by name, those with labels summed up.
func (s *site) metrics() (map[string]float64, error) {
	resp, err := http.Get("http://" + s.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		name, _, _ := strings.Cut(line[:max(at, 0)], "{")
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64); err == nil {
			all[name] += value
		}
	}
	return all, nil
}

// check holds the ledger's totals against what was sent, and starts the node anew to
// read from its files what is known of each visitor.
func (s *site) check(binary string) error {
	var wrong []error
	equal := func(what string, got, want int64) {
		if got != want {
			wrong = append(wrong, fmt.Errorf("%s: %d in the place of %d", what, got, want))
		}
	}
	m, err := s.metrics()
	if err != nil {
		return err
	}
	equal("events applied", int64(m["sedge_ledger_events_total"]), s.expected())
	equal("events of traffic", int64(m["sedge_events_recorded_total"]), eventsPerView*s.sent(""))
	for _, name := range []string{"sedge_events_dropped_total", "sedge_events_busy_total", "sedge_events_invalid_total", "sedge_ledger_failures_total", "sedge_pages_failed_open_total"} {
		equal(name, int64(m[name]), 0)
	}
	r, err := s.report(binary)
	if err != nil {
		return err
	}
	all, came := int64(len(s.visitors)), int64(0)
	for _, v := range s.visitors {
		came += min(1, v.views.Load())
	}
	equal("visitors in the report", r.Site.Visitors, all)
	equal("visitors whose cookie never came back", r.Site.Unconfirmed, all-came)
	var triggered, delivered int64
	for _, e := range r.Experiments {
		equal("visitors of two arms", e.Crossed, 0)
		for _, arm := range e.Arms {
			triggered, delivered = triggered+arm.Visitors, delivered+arm.Delivered
		}
	}
	equal("visitors who triggered the experiment", triggered, came)
	equal("visitors to whom it was delivered", delivered, came)
	views, differ, err := s.stored(binary)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d visitors: %d profiles in memory, %.0f MiB of event log; the ledger has %.0f events, page views", all, int64(m["sedge_profiles_in_memory"]), m["sedge_event_log_bytes"]/(1<<20), m["sedge_ledger_events_total"])
	for _, tier := range tiers() {
		fmt.Printf(" %s %d", tier, views[tier])
		equal("page views of segment "+tier, views[tier], s.sent(tier))
	}
	fmt.Printf(" of %d sent\n", s.sent(""))
	equal("visitors with other page views than were sent", differ, 0)
	return errors.Join(wrong...)
}

type report struct {
	Site        group
	Experiments []struct {
		Crossed int64
		Arms    []group
	}
}

type group struct{ Visitors, Unconfirmed, Delivered int64 }

func (s *site) report(binary string) (r report, err error) {
	text, err := exec.Command(binary, "report", "--format", "json", "--admin", "http://"+s.Admin, "--data-dir", s.Data).Output()
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("sedge report: %w", err)
	}
	return r, nil
}

// stored starts the node anew, so that nothing is in memory, and asks it for each
// visitor's page views. It returns their sums by segment, and how many visitors have
// others than were sent to them.
func (s *site) stored(binary string) (views map[string]int64, differ int64, err error) {
	s.Stop()
	again, err := rig.StartNode(binary, s.dir, s.config)
	if err != nil {
		return nil, 0, err
	}
	s.Node = again
	views = map[string]int64{}
	err = load(s.Site, 1, len(s.visitors), func(c *rig.Conn, i int) error {
		v := s.visitors[i]
		var body []byte
		if _, err := send(c, "GET /_sedge/v1/me HTTP/1.1\r\n"+browser+"Cookie: "+v.cookie+"\r\n\r\n", &body); err != nil {
			return err
		}
		var me struct {
			Segment   string
			PageViews int64 `json:"page_views"`
		}
		if err := json.Unmarshal(body, &me); err != nil {
			return fmt.Errorf("read what is known of a visitor: %w", err)
		}
		views[me.Segment] += me.PageViews
		if me.Segment != v.tier || me.PageViews != v.views.Load() {
			differ++
		}
		return nil
	})
	return views, differ, err
}
