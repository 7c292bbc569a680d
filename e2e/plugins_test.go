package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load asks for the home page over and over, as visitors who come for the first
// time, until stop is called. A page fails when it is not answered with 200 or
// is cut short.
type load struct {
	pages, plain, failed atomic.Int64
	slowest              atomic.Int64 // nanoseconds
	firstFailure         atomic.Value // string
	quit                 chan struct{}
	once                 sync.Once
	group                sync.WaitGroup
}

func startLoad(t *testing.T, n *node, clients int, origin string) *load {
	t.Helper()
	l := &load{quit: make(chan struct{})}
	for i := range clients {
		c := newClient(t, n.site)
		c.http.Jar = nil // everybody is new
		l.group.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-l.quit:
					return
				default:
					l.open(c, fmt.Sprintf("/?utm_campaign=sale&n=%d-%d", i, round), origin)
				}
			}
		})
	}
	t.Cleanup(l.stop) // before the node ends, also when the test fails
	return l
}

func (l *load) open(c *client, path, origin string) {
	started := time.Now()
	a, err := c.try(http.MethodGet, path, "", "Connection", "close")
	if took := int64(time.Since(started)); took > l.slowest.Load() {
		l.slowest.Store(took)
	}
	switch {
	case err != nil || a.status != http.StatusOK || outside(a.body) != outside(origin):
		l.failed.Add(1)
		l.firstFailure.CompareAndSwap(nil, fmt.Sprintf("status %d, error %v, %d bytes", a.status, err, len(a.body)))
	case headlineOf(a.body) == headlineOf(origin):
		l.plain.Add(1)
		l.pages.Add(1)
	default:
		l.pages.Add(1)
	}
}

func (l *load) stop() {
	l.once.Do(func() { close(l.quit) })
	l.group.Wait()
}

// Killing the plugins' processes costs no page, they come back, and so does what
// they say.
func TestKilledPluginsCostNoPage(t *testing.T) {
	n := startDemo(t, checkedBinary)
	origin := newClient(t, n.origin).page("/").body
	personalized := func() error {
		if got := n.onSale(); got == headlineOf(origin) {
			return fmt.Errorf("the headline is the origin's: %q", got)
		}
		return nil
	}
	waitFor(t, 20*time.Second, "the home page is personalized", personalized)
	plugins := n.children()
	if len(plugins) < 2 {
		t.Fatalf("%d plugin processes, want content and offers", len(plugins))
	}

	headline := "The autumn sale is on"
	l := startLoad(t, n, 4, origin)
	for round := range rounds(3, 20) { // each time the pause before a restart grows, up to 30 s
		before := n.children()
		for _, pid := range before {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("round %d: kill plugin %d: %v", round, pid, err)
			}
		}
		waitGone(t, before)
		seen := l.pages.Load()
		waitFor(t, 20*time.Second, "pages go on", func() error {
			if l.pages.Load() < seen+10 {
				return fmt.Errorf("%d pages since the kill", l.pages.Load()-seen)
			}
			return nil
		})
		waitFor(t, 40*time.Second, "the plugins run again", func() error { return n.pluginsRun(before) })
		waitFor(t, 20*time.Second, "the home page is personalized again", personalized)
		headline = n.sayOnSale(headline, fmt.Sprintf("Round %d of the sale", round))
	}
	l.stop()
	t.Logf("%d pages, %d of them the origin's, slowest %s", l.pages.Load(), l.plain.Load(), time.Duration(l.slowest.Load()).Round(time.Millisecond))
	if l.failed.Load() > 0 {
		t.Errorf("%d pages failed, first: %v", l.failed.Load(), l.firstFailure.Load())
	}
}

// pluginsRun returns nil when all plugins run, in other processes than those.
func (n *node) pluginsRun(others []int) error {
	req, err := http.NewRequest(http.MethodGet, n.admin+"/api/v1/status", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+n.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var status struct {
		Plugins []struct {
			Name, State string
			PID         int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return err
	}
	for _, p := range status.Plugins {
		if p.State != "running" || slices.Contains(others, p.PID) {
			return fmt.Errorf("plugin %s is %s as process %d", p.Name, p.State, p.PID)
		}
	}
	if len(status.Plugins) == 0 {
		return errors.New("the status names no plugins")
	}
	return nil
}

// onSale returns the headline that somebody new finds by the sale's link.
func (n *node) onSale() string {
	n.t.Helper()
	c := newClient(n.t, n.site)
	defer c.http.CloseIdleConnections()
	return headlineOf(c.page("/?utm_campaign=sale").body)
}

// sayOnSale changes the headline of the sale in the configuration and waits until
// visitors see it. No answer of a plugin is kept over that: the process that runs
// now must be the one that gave it.
func (n *node) sayOnSale(from, to string) string {
	n.t.Helper()
	file := filepath.Join(n.dataDir, "demo.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	changed := strings.Replace(string(text), from, to, 1)
	if changed == string(text) {
		n.t.Fatalf("%q does not stand in %s", from, file)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		n.t.Fatal(err)
	}
	waitFor(n.t, 20*time.Second, "the new headline is there", func() error {
		if got := n.onSale(); got != to {
			return fmt.Errorf("headline %q", got)
		}
		return nil
	})
	return to
}

// A plugin that hangs (here: is stopped by a signal) costs a page no more than the
// budget for personalizing, and the page is the origin's.
func TestHangingPluginsCostTheBudgetAtMost(t *testing.T) {
	n := startDemo(t, binary)
	origin := newClient(t, n.origin).page("/").body
	waitFor(t, 20*time.Second, "the home page is personalized", func() error {
		if n.onSale() == headlineOf(origin) {
			return errors.New("the headline is the origin's")
		}
		return nil
	})
	category := newClient(t, n.origin).page("/category/camp").body
	plugins := n.children()
	for _, pid := range plugins {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, pid := range plugins {
			_ = syscall.Kill(pid, syscall.SIGCONT) // it may have been replaced
		}
	})
	// Budget 50 ms; what is above pays for a machine that does other things too.
	const limit = 500 * time.Millisecond
	for i := range 20 {
		started := time.Now()
		page := newClient(t, n.site).page(fmt.Sprintf("/category/camp?n=%d", i))
		if took := time.Since(started); took > limit {
			t.Errorf("page %d took %s", i, took)
		}
		if page.body != category {
			t.Errorf("page %d is not the origin's: %s", i, difference(page.body, category))
		}
	}
}
