// Package traffic sends simulated visitors through a proxy in front of the
// sample shop, over real HTTP, so that a report has something to show.
//
// Each visitor has a cookie jar, a device, a reason to come (a campaign, a search
// engine, a bookmark) and a mood. They open pages as a browser would, read what
// they are shown, and some of them buy. Who sees an offer or a link that speaks of
// a saving buys more often: the effect that a report then finds is real in the
// sense that it came from what the proxy showed, and from nothing else. A few
// crawlers pass by as well.
//
// What a visitor does follows from the seed and their number; only the answers of
// the site can change it.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	defaultConcurrency = 8
	requestTimeout     = 30 * time.Second
	maxPage            = 4 << 20 // bytes of a page that a visitor reads
	loggedErrors       = 5       // errors that are logged; the rest is only counted
)

// Options say who comes. Target and Visitors are needed.
type Options struct {
	// Target is the base URL of the site, as in "http://127.0.0.1:8080".
	Target string

	// Visitors is how many come, crawlers included.
	Visitors int

	// Seed decides what they do.
	Seed uint64

	// Concurrency is how many are on the site at once; 0: 8.
	Concurrency int

	// Progress, if set, hears after each visitor how many have left. Calls do not
	// overlap.
	Progress func(done, total int)

	// Logger hears of the first few errors; nil: none is logged.
	Logger *slog.Logger
}

// Summary says what happened.
type Summary struct {
	Visitors  int     // people who came, without crawlers
	Crawlers  int     // bots that came
	PageViews int     // pages that people opened
	Buyers    int     // people with at least one order
	Orders    int     // orders placed
	Revenue   float64 // sum of the totals on the thank-you pages, in the shop's currency
	Tempted   int     // people who saw an offer or a saving
	Errors    int     // requests that failed or were answered with 5xx
	Duration  time.Duration
}

// String is the summary in one line for people.
func (s Summary) String() string {
	line := fmt.Sprintf("%d visitors, %d page views, %d buyers, %d orders worth %.2f; %d crawlers; %s",
		s.Visitors, s.PageViews, s.Buyers, s.Orders, s.Revenue, s.Crawlers, s.Duration.Round(100*time.Millisecond))
	if s.Errors > 0 {
		line += fmt.Sprintf("; %d requests failed", s.Errors)
	}
	return line
}

// add counts one visitor.
func (s *Summary) add(v *visitor) {
	if v.persona.crawler {
		s.Crawlers++
	} else {
		s.Visitors++
		s.PageViews += v.pages
	}
	if v.orders > 0 {
		s.Buyers++
	}
	if v.tempted {
		s.Tempted++
	}
	s.Orders += v.orders
	s.Errors += v.errors
}

// Run sends all visitors and returns when the last has left or ctx ends. The
// summary is true in any case; the error is that of ctx, or says that the target
// is no usable address or answered nobody.
func Run(ctx context.Context, o Options) (Summary, error) {
	target, err := url.Parse(o.Target)
	if err != nil || target.Host == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return Summary{}, fmt.Errorf("send traffic to %q: not an http or https address", o.Target)
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: o.Concurrency, MaxConnsPerHost: 2 * o.Concurrency, ResponseHeaderTimeout: requestTimeout}
	defer transport.CloseIdleConnections()

	c := crowd{options: o, target: strings.TrimRight(target.Scheme+"://"+target.Host, "/"), transport: transport}
	started := time.Now()
	summary := c.run(ctx)
	summary.Duration = time.Since(started)
	switch {
	case ctx.Err() != nil:
		return summary, fmt.Errorf("send traffic to %q: %w", o.Target, context.Cause(ctx))
	case o.Visitors > 0 && summary.Errors > 0 && c.answered == 0:
		return summary, fmt.Errorf("send traffic to %q: no request was answered: %w", o.Target, c.firstError)
	}
	return summary, nil
}

// crowd is one run.
type crowd struct {
	options   Options
	target    string
	transport http.RoundTripper

	mu         sync.Mutex
	summary    Summary
	done       int
	cents      int64
	answered   int
	firstError error
	logged     int
}

// run keeps as many visitors on the site as may be there at once.
func (c *crowd) run(ctx context.Context) Summary {
	numbers := make(chan int)
	var group sync.WaitGroup
	for range min(c.options.Concurrency, max(c.options.Visitors, 1)) {
		group.Go(func() {
			for n := range numbers {
				if ctx.Err() == nil { // select may prefer a visitor to the end
					c.visit(ctx, n)
				}
			}
		})
	}
	for n := range c.options.Visitors {
		select {
		case numbers <- n:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(numbers)
	group.Wait()
	return c.summary
}

// visit plays one visitor and counts what they did. A panic costs that visitor
// and is counted as an error.
func (c *crowd) visit(ctx context.Context, number int) {
	v := c.newVisitor(number)
	defer func() {
		if r := recover(); r != nil {
			v.failed(fmt.Errorf("visitor %d panicked: %v", number, r))
		}
		c.left(ctx, v)
	}()
	v.play(ctx)
}

// left counts a visitor who has gone.
func (c *crowd) left(ctx context.Context, v *visitor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.summary.add(v)
	c.cents += v.cents // whole cents, so that the order of visitors does not show in the sum
	c.summary.Revenue = float64(c.cents) / 100
	c.answered += v.answered
	if v.lastError != nil && !errors.Is(v.lastError, context.Canceled) {
		if c.firstError == nil {
			c.firstError = v.lastError
		}
		if c.logged++; c.logged <= loggedErrors {
			c.options.Logger.WarnContext(ctx, "simulated visitor met an error", "error", v.lastError)
		}
	}
	c.done++
	if c.options.Progress != nil {
		c.options.Progress(c.done, c.options.Visitors)
	}
}

func (c *crowd) newVisitor(number int) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic("BUG: a jar without options cannot fail: " + err.Error())
	}
	r := rand.New(rand.NewPCG(c.options.Seed, uint64(number)))
	v := &visitor{random: r, persona: newPersona(r), target: c.target}
	v.client = &http.Client{Transport: c.transport, Jar: jar, Timeout: requestTimeout, CheckRedirect: v.redirected}
	return v
}

// readPage reads a bounded body to its end, so that its connection can serve again.
func readPage(body io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxPage))
	return string(text), err
}
