package proxy

import (
	"sync/atomic"
	"time"
)

// durationBounds are the upper ends of the classes of [Durations].
var durationBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Durations counts how long things took, in classes.
type Durations struct {
	classes [len(durationBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (d *Durations) observe(took time.Duration) {
	class := 0
	for class < len(durationBounds) && took > durationBounds[class] {
		class++
	}
	d.classes[class].Add(1)
	d.sum.Add(int64(took))
}

// Snapshot returns how many there were, their sum, and for each upper end, both in
// seconds, how many took at most that.
func (d *Durations) Snapshot() (count uint64, sum float64, upTo map[float64]uint64) {
	upTo = make(map[float64]uint64, len(durationBounds))
	for i := range d.classes {
		count += d.classes[i].Load()
		if i < len(durationBounds) {
			upTo[durationBounds[i].Seconds()] = count
		}
	}
	return count, time.Duration(d.sum.Load()).Seconds(), upTo
}

// RouteStats are the times of one route.
type RouteStats struct {
	// Requests are by class of status, as [Stats.Requests]: from the end of a
	// request's head until its answer is ready to go out.
	Requests [6]Durations
	// Upstream is until the head of the origin's answer, or its failure, is there.
	Upstream Durations
}

// maxRoutes bounds the routes whose times are kept apart: a reload may bring others
// again and again.
const maxRoutes = 256

// Names of what has no route of its own.
const (
	noRoute     = "(none)"  // Sedge's own paths, and what no route answers for
	otherRoutes = "(other)" // beyond maxRoutes
)

// routeStats returns the times of the route with this name, over all generations.
func (s *Server) routeStats(name string) *RouteStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.routes) >= maxRoutes && s.routes[name] == nil {
		name = otherRoutes
	}
	stats := s.routes[name]
	if stats == nil {
		stats = new(RouteStats)
		s.routes[name] = stats
	}
	return stats
}

// EachRoute calls f with the times of every route.
func (s *Server) EachRoute(f func(name string, stats *RouteStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, stats := range s.routes {
		f(name, stats)
	}
}
