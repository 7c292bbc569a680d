package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/proxy/upstream"
	"github.com/sedge-proxy/sedge/visitor"
	"github.com/sedge-proxy/sedge/visitor/attributes"
)

// Profiles knows visitors.
type Profiles interface {
	// Snapshot returns what is known of a visitor; nil for nobody known.
	Snapshot(ctx context.Context, id string) (*decision.Profile, error)
}

// Segmenter says which segments a visitor is in.
type Segmenter interface {
	Segment(facts *decision.Facts) *decision.Segmentation
}

// Experiments says which arms a visitor is in.
type Experiments interface {
	// Assign appends the arms of the unit to dst; none for the unit "".
	Assign(dst []decision.Assignment, unit, segment string) []decision.Assignment
}

// Planner says what is to be done with a page.
type Planner interface {
	// Concerned reports whether some experience names the page.
	Concerned(page *decision.Page) bool
	// Bodies returns the kinds of bodies that these experiences may edit.
	Bodies(page *decision.Page) decision.Bodies
	// Plan answers within ctx's deadline; its plan may lack what was too slow.
	Plan(ctx context.Context, query *decision.Query) *decision.Plan
}

// Recorder takes events.
type Recorder interface {
	// Record takes events of one visitor from traffic. It never blocks, and returns
	// how many it took; it had to drop the others. It may change the events, and keeps
	// nothing of them but their texts.
	Record(events []event.Event) int
	// Accept takes events from the API; when it returns nil they are durable.
	// event.ErrBusy asks the client to come again.
	Accept(ctx context.Context, events []event.Event) error
}

// SiteOptions are the parts of one generation.
type SiteOptions struct {
	Generation uint64
	Routes     []Route
	Upstreams  map[string]*upstream.Upstream // by name

	Cookie     *visitor.Cookie
	Signer     *visitor.Signer
	Attributes *attributes.Extractor // names in the order of decision.Facts.Attributes

	Profiles    Profiles
	Segmenter   Segmenter
	Experiments Experiments
	Planner     Planner
	Recorder    Recorder

	// Release is called once, when another site has taken this one's place and
	// its last request has ended. It closes what belongs to this generation. May
	// be nil.
	Release func()
}

// Site is one immutable generation of everything that a request needs. A request
// pins it and uses it to its end.
type Site struct {
	SiteOptions
	routes      []route
	cookieNames []string

	// pins counts the requests that use the site, and the server while it is the
	// current one.
	pins atomic.Int64
}

// NewSite compiles a generation. The error is a [decision.Faults] relative to the
// list of routes when routes are wrong.
func NewSite(o SiteOptions) (*Site, error) {
	switch {
	case o.Cookie == nil || o.Signer == nil || o.Attributes == nil:
		return nil, errors.New("make site: cookie, signer and attributes are needed")
	case o.Profiles == nil || o.Segmenter == nil || o.Experiments == nil || o.Planner == nil || o.Recorder == nil:
		return nil, errors.New("make site: an engine is missing")
	}
	routes, faults := compileRoutes(o.Routes, o.Upstreams)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	s := &Site{SiteOptions: o, routes: routes, cookieNames: []string{o.Cookie.Name()}}
	s.pins.Store(1)
	return s, nil
}

// pin keeps the site for a request; false: it is already given up.
func (s *Site) pin() bool {
	for {
		n := s.pins.Load()
		if n <= 0 {
			return false
		}
		if s.pins.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *Site) unpin() {
	n := s.pins.Add(-1)
	if n < 0 {
		panic(fmt.Sprintf("BUG: site %d released too often", s.Generation))
	}
	if n == 0 && s.Release != nil {
		s.Release()
	}
}

func (s *Site) find(host, path string) *route {
	for i := range s.routes {
		if s.routes[i].matches(host, path) {
			return &s.routes[i]
		}
	}
	return nil
}
