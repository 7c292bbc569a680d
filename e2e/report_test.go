package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// report is what the tests read of GET /api/v1/report.
type report struct {
	Site        group `json:"site"`
	Segments    []segment
	Experiments []experiment
}

type group struct {
	Visitors    int64   `json:"visitors"`
	Sessions    int64   `json:"sessions"`
	Conversions int64   `json:"conversions"`
	Revenue     float64 `json:"revenue"`
	Goals       []goal  `json:"goals"`
}

type goal struct {
	Goal        string  `json:"goal"`
	Converted   int64   `json:"converted"`
	Conversions int64   `json:"conversions"`
	Revenue     float64 `json:"revenue"`
}

type segment struct {
	Segment string `json:"segment"`
	group
}

type experiment struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Arms []struct {
		Arm       string `json:"arm"`
		Visitors  int64  `json:"visitors"`
		Delivered int64  `json:"delivered"`
	} `json:"arms"`
	Differences []struct {
		Low  *float64 `json:"low"`
		High *float64 `json:"high"`
	} `json:"differences"`
}

// goal returns a goal's figures over the whole site, zeros when nobody reached it.
func (r report) goal(name string) goal {
	for _, g := range r.Site.Goals {
		if g.Goal == name {
			return g
		}
	}
	return goal{Goal: name}
}

func (r report) orders() int64 { return r.goal("purchase").Conversions }

// kill -9 of the node under a stream of events, three times: who had two orders is
// still loyal, and each acknowledged event counts once, also when it is sent again.
func TestKilledNodeLosesAndDoublesNothing(t *testing.T) {
	n := startDemo(t, checkedBinary)
	loyal := newClient(t, n.site)
	loyal.buy("kiln-mug")
	loyal.buy("fen-lantern")
	headline := headlineOf(loyal.page("/").body)
	if headline == headlineOf(newClient(t, n.site).page("/").body) {
		t.Fatalf("two orders make no difference: %q", headline)
	}
	waitFor(t, 20*time.Second, "both orders are on disk", func() error { return wantOrders(n.report(), 2) })
	revenue := n.report().goal("purchase").Revenue

	senders := make([]*sender, 4)
	for i := range senders {
		c := newClient(t, n.site)
		c.page("/")
		senders[i] = &sender{client: c, name: fmt.Sprintf("visitor-%d", i)}
	}
	for round := range rounds(3, 100) {
		var group sync.WaitGroup
		enough := make(chan struct{}, len(senders))
		for _, s := range senders {
			group.Go(func() { s.untilDown(30, enough) })
		}
		for range senders {
			<-enough
		}
		n.kill()
		group.Wait()
		n.launch()

		acknowledged, sent := int64(0), int64(0)
		for _, s := range senders {
			acknowledged += int64(s.acknowledged)
			sent += int64(s.sent)
		}
		got := n.report().goal("newsletter").Conversions
		if got < acknowledged || got > sent {
			t.Errorf("round %d: %d events in the report, %d acknowledged, %d sent", round, got, acknowledged, sent)
		}
		for _, s := range senders {
			s.again(t)
		}
		waitFor(t, 20*time.Second, "every event counts once", func() error {
			if got := n.report().goal("newsletter").Conversions; got != sent {
				return fmt.Errorf("%d events in the report, %d sent", got, sent)
			}
			return nil
		})
		if got := headlineOf(loyal.page("/").body); got != headline {
			t.Errorf("round %d: after the restart the loyal visitor sees %q", round, got)
		}
		r := n.report()
		if err := wantOrders(r, 2); err != nil || math.Abs(r.goal("purchase").Revenue-revenue) > 1e-9 {
			t.Errorf("round %d: %v, revenue %v instead of %v", round, err, r.goal("purchase").Revenue, revenue)
		}
	}
}

func wantOrders(r report, want int64) error {
	if got := r.orders(); got != want {
		return fmt.Errorf("%d orders in the report, want %d", got, want)
	}
	return nil
}

// sender is a visitor who sends track events, each with its own message id.
type sender struct {
	client       *client
	name         string
	sent         int // events tried; their ids are name-0 to name-(sent-1)
	acknowledged int
}

// untilDown sends events until one is not acknowledged, and says so on enough once
// as many as wanted were.
func (s *sender) untilDown(wanted int, enough chan<- struct{}) {
	for i := 0; ; i++ {
		if i == wanted {
			enough <- struct{}{}
		}
		s.sent++
		if err := s.send(s.sent - 1); err != nil {
			if i < wanted {
				enough <- struct{}{}
			}
			return
		}
		s.acknowledged++
	}
}

// again sends everything once more, as a client that got no answer would.
func (s *sender) again(t *testing.T) {
	t.Helper()
	for i := range s.sent {
		if err := s.send(i); err != nil {
			t.Fatalf("send event %d again: %v", i, err)
		}
	}
	s.acknowledged = s.sent
}

func (s *sender) send(i int) error {
	body := fmt.Sprintf(`{"type":"track","event":"Newsletter Signup","messageId":"%s-%d"}`, s.name, i)
	a, err := s.client.try(http.MethodPost, "/_sedge/v1/track", body, "Content-Type", "text/plain", "Sec-Fetch-Dest", "empty", "Accept", "*/*")
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return err
}

var summaryLine = regexp.MustCompile(`(\d+) visitors, (\d+) page views, (\d+) buyers, (\d+) orders worth ([0-9.]+); (\d+) crawlers`)

// What simulated visitors did is what the report says, to the cent, and bots are
// not in it.
func TestReportAgreesWithTheTraffic(t *testing.T) {
	n := startDemo(t, binary, "--traffic", "200", "--seed", "7")
	var m []string
	waitFor(t, 2*time.Minute, "the visitors have left", func() error {
		if m = summaryLine.FindStringSubmatch(n.output.String()); m == nil {
			return fmt.Errorf("no summary")
		}
		return nil
	})
	if strings.Contains(n.output.String(), "requests failed") {
		t.Error("simulated visitors met errors")
	}
	number := func(i int) int64 { v, _ := strconv.ParseInt(m[i], 10, 64); return v }
	worth, _ := strconv.ParseFloat(m[5], 64)
	waitFor(t, 30*time.Second, "the report agrees with the visitors", func() error {
		r := n.report()
		got := r.goal("purchase")
		if r.Site.Visitors != number(1) || got.Conversions != number(4) || got.Converted != number(3) || math.Abs(got.Revenue-worth) > 0.005 {
			return fmt.Errorf("report: %d visitors, %d orders of %d, worth %.2f; traffic: %s", r.Site.Visitors, got.Conversions, got.Converted, got.Revenue, m[0])
		}
		return nil
	})
	r := n.report()
	// A session counts for the segment in which it began, so nobody is loyal yet.
	if len(r.Segments) < 2 || len(r.Experiments) < 2 {
		t.Errorf("%d segments and %d experiments in the report", len(r.Segments), len(r.Experiments))
	}
	for _, e := range r.Experiments {
		for _, arm := range e.Arms {
			if arm.Visitors == 0 || arm.Delivered == 0 {
				t.Errorf("%s %s, arm %s: %d triggered, %d delivered", e.Kind, e.Name, arm.Arm, arm.Visitors, arm.Delivered)
			}
		}
		if len(e.Differences) == 0 || e.Differences[0].Low == nil || *e.Differences[0].Low > *e.Differences[0].High {
			t.Errorf("%s %s: differences %v", e.Kind, e.Name, e.Differences)
		}
	}

	live := commandReport(t, "--admin", n.admin, "--data-dir", n.dataDir)
	table, stderr, err := run(t, "report", "--admin", n.admin, "--data-dir", n.dataDir)
	if err != nil || !strings.Contains(table, "sale-hunter") || !strings.Contains(table, "sale-button") {
		t.Errorf("sedge report: %v\n%s%s", err, table, stderr)
	}
	if err := n.stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	if offline := commandReport(t, "--admin", n.admin, "--data-dir", n.dataDir); offline.Site.Visitors != live.Site.Visitors || offline.orders() != live.orders() {
		t.Errorf("without a node the report says %+v, with it %+v", offline.Site, live.Site)
	}
}

// commandReport runs `sedge report --format json`.
func commandReport(t *testing.T, flags ...string) report {
	t.Helper()
	stdout, stderr, err := run(t, append([]string{"report", "--format", "json"}, flags...)...)
	if err != nil {
		t.Fatalf("sedge report: %v\n%s", err, stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("sedge report: %v in %s", err, stdout)
	}
	return r
}
