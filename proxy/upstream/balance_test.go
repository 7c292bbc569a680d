package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// balanced makes an upstream whose servers nobody asks, with the weights given.
func balanced(t testing.TB, balance string, random func() uint64, weights ...int) *Upstream {
	c := newClock()
	return newUpstreamIn(t, Deps{Now: c.now, Random: random}, "", func(cfg *Config) {
		cfg.Balance = balance
		for i, w := range weights {
			cfg.Servers = append(cfg.Servers, Server{URL: fmt.Sprintf("http://192.0.2.%d", i+1), Weight: new(w)})
		}
	})
}

func visitors(u *Upstream, n int) []int {
	at := make([]int, n)
	for i := range at {
		at[i] = u.pick(0, u.visitorHash(fmt.Sprintf("v1.visitor-%d", i), netip.Addr{}))
	}
	return at
}

// A law of consistent hashing: a server that goes moves its own visitors only, and
// they are spread over the others by weight; weights hold within chance.
func TestVisitorsStayWithTheirServer(t *testing.T) {
	const n = 1000
	rapid.Check(t, func(r *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 5), 2, 6).Draw(r, "weights")
		gone := rapid.IntRange(0, len(weights)-1).Draw(r, "gone")
		u := balanced(t, ByVisitor, nil, weights...)
		total := 0
		for _, w := range weights {
			total += w
		}
		before := visitors(u, n)
		shares := make([]int, len(weights))
		for _, at := range before {
			shares[at]++
		}
		for i, w := range weights {
			want := float64(n*w) / float64(total)
			if chance := 5 * math.Sqrt(want); math.Abs(float64(shares[i])-want) > chance {
				r.Fatalf("server %d of weights %v has %d of %d visitors, want %.0f±%.0f", i, weights, shares[i], n, want, chance)
			}
		}
		u.members[gone].outUntil.Store(math.MaxInt64)
		for i, at := range visitors(u, n) {
			if before[i] != gone && at != before[i] || at == gone {
				r.Fatalf("visitor %d moved from %d to %d when %d went", i, before[i], at, gone)
			}
		}
		u.Close()
	})
}

// A heavier server wins visitors, and no others move; the order of the servers in
// the settings does not matter.
func TestWeightMovesVisitorsToItself(t *testing.T) {
	light, heavy := balanced(t, ByVisitor, nil, 1, 1, 1), balanced(t, ByVisitor, nil, 1, 2, 1)
	before, moved := visitors(light, 3000), 0
	for i, at := range visitors(heavy, 3000) {
		if at != before[i] {
			moved++
			if at != 1 {
				t.Fatalf("visitor %d moved to %d", i, at)
			}
		}
	}
	if moved < 400 || moved > 600 {
		t.Errorf("%d of 3000 moved, want a sixth", moved)
	}
	heavy.members[0], heavy.members[2] = heavy.members[2], heavy.members[0]
	for i, at := range visitors(heavy, 100) {
		if url := heavy.members[at].id.url; url != light.members[before[i]].id.url && at != 1 {
			t.Errorf("visitor %d is with %s in another order", i, url)
		}
	}
}

func TestWithoutVisitorTheAddressCounts(t *testing.T) {
	u := balanced(t, ByVisitor, nil, 1, 1, 1, 1)
	seen := map[int]bool{}
	for i := range 50 {
		address := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
		first := u.pick(0, u.visitorHash("", address))
		seen[first] = true
		if again := u.pick(0, u.visitorHash("", address)); again != first {
			t.Errorf("%s went to %d and %d", address, first, again)
		}
	}
	if len(seen) != 4 {
		t.Errorf("only servers %v are used", seen)
	}
}

func TestLeastConnections(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	u := balanced(t, LeastConnections, random.Uint64, 1, 1, 2)
	busy := func(i, n int) {
		for range n {
			u.members[i].pool.slots <- struct{}{}
		}
	}
	busy(0, 3)
	busy(1, 2)
	busy(2, 3) // the fewest for its weight
	if got := u.pick(0, 0); got != 2 {
		t.Errorf("picked %d", got)
	}
	busy(2, 1) // as busy as the second now: chance decides, by weight
	counts := [3]int{}
	for range 3000 {
		counts[u.pick(0, 0)]++
	}
	if counts[0] != 0 || counts[1] < 900 || counts[1] > 1100 {
		t.Errorf("picked %v of 3000, want a third for the lighter one", counts)
	}
}

// With all of them down, all are tried.
func TestNoServerIsUp(t *testing.T) {
	u := balanced(t, RoundRobin, nil, 1, 1)
	for _, m := range u.members {
		m.checks = true
		m.down.Store(true)
	}
	if a, b := u.pick(0, 0), u.pick(0, 0); a == b {
		t.Errorf("only server %d is tried", a)
	}
	if got := u.pick(1, 0); got != 1 {
		t.Errorf("picked %d, which was tried", got)
	}
	if s := u.Status(); s.Available() {
		t.Error("the upstream is said to be available")
	}
}

func TestWarmth(t *testing.T) {
	c := newClock()
	h := &health{}
	for _, test := range []struct {
		since time.Duration
		want  float64
	}{{0, 0.1}, {500 * time.Millisecond, 0.1}, {5 * time.Second, 0.5}, {10 * time.Second, 1}, {time.Hour, 1}} {
		h.upSince.Store(c.now().Add(-test.since).UnixNano())
		if got := h.warmth(c.now(), 10*time.Second); got != test.want {
			t.Errorf("%s after: %v, want %v", test.since, got, test.want)
		}
	}
}
