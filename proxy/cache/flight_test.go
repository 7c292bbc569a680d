package cache

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type (
	testFlights = Flights[int, string, string]
	testFlight  = Flight[int, string, string]
	testOutcome = Outcome[int, string, string]
)

func newFlights(cfg Config) (*testObjects, *testFlights) {
	x := newObjects(cfg)
	return x, NewFlights(x, time.Now)
}

func flightKey(url string) []byte { return []byte("up\x00https\x00" + url) }

// followers are requests that wait for one another.
type followers struct {
	outcomes chan testOutcome
	n        int
}

// follow lets n requests join, all of which must find somebody to follow.
func follow(t *testing.T, s *testFlights, url string, n int, whole bool, headers ...string) *followers {
	t.Helper()
	f := &followers{make(chan testOutcome, n), n}
	for range n {
		lead, w := s.Join(flightKey(url), asking(headers...))
		if w == nil {
			t.Fatalf("nobody to follow: leads %v", lead.Leads())
		}
		go func() { f.outcomes <- w.Wait(time.Second, whole, nil) }()
	}
	synctest.Wait()
	return f
}

// sorted waits for all outcomes and tells them apart.
func (f *followers) sorted() (objects, bodies, lead, alone []testOutcome) {
	for range f.n {
		switch o := <-f.outcomes; {
		case o.Body != nil:
			bodies = append(bodies, o)
		case o.Object != nil:
			objects = append(objects, o)
		case o.Flight.Leads():
			lead = append(lead, o)
		default:
			alone = append(alone, o)
		}
	}
	return objects, bodies, lead, alone
}

func counts(f *followers) string {
	objects, bodies, lead, alone := f.sorted()
	return fmt.Sprintf("%d objects, %d bodies, %d lead, %d alone", len(objects), len(bodies), len(lead), len(alone))
}

func expect(t *testing.T, f *followers, want string) {
	t.Helper()
	if got := counts(f); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func lead(t *testing.T, s *testFlights, url string, headers ...string) *testFlight {
	t.Helper()
	f, w := s.Join(flightKey(url), asking(headers...))
	if w != nil || !f.Leads() {
		t.Fatal("does not lead")
	}
	return f
}

// idle fails if anything is still under way.
func (s *Flights[R, P, V]) idle(t *testing.T) {
	t.Helper()
	if u := s.Usage(); u.Flights != 0 || u.Followers != 0 || u.Bytes != 0 {
		t.Errorf("still under way: %+v", u)
	}
}

func TestFollowersGetWhatTheLeaderBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/")
		before := follow(t, s, "shop.example/", 100, false)
		o := made("shop.example/", "")
		filling := leader.Open(o, -1)
		during := follow(t, s, "shop.example/", 100, false)
		for range 1000 {
			if _, err := filling.Write([]byte("0123456789")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(before.outcomes)+len(during.outcomes) != 0 {
			t.Error("somebody began with a body of unknown length that may still become too large")
		}
		leader.Leave() // its client is served from the filling, or gone
		if !filling.Finish() || x.ask("shop.example/") != o || len(o.Body) != 10000 {
			t.Error("not stored")
		}
		filling.Fail(errors.New("too late"))
		for _, f := range []*followers{before, during} {
			objects, _, _, _ := f.sorted()
			if len(objects) != 100 || objects[0].Object != o {
				t.Errorf("%d got the object", len(objects))
			}
		}
		s.idle(t)
		x.check(t)
		if u := s.Usage(); u.Led != 1 || u.Served != 200 || u.Stored != 1 {
			t.Errorf("%+v", u)
		}
	})
}

func TestFollowersReadAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/")
		early := follow(t, s, "shop.example/", 50, false)
		whole := follow(t, s, "shop.example/", 50, true)
		text := strings.Repeat("0123456789", 20000)
		filling := leader.Open(made("shop.example/", ""), len(text))
		own := filling.Reader(nil)
		if filling.Write([]byte(text[:10])); own.Length() != len(text) {
			t.Error("the length is not told")
		}
		read := make(chan string, 100)
		begin := func(f *followers) {
			_, bodies, _, _ := f.sorted()
			if len(bodies) != f.n {
				t.Fatalf("%d began", len(bodies))
			}
			for _, o := range bodies {
				go func() {
					body, err := io.ReadAll(o.Body)
					if err != nil {
						t.Error(err)
					}
					read <- string(body)
				}()
			}
		}
		begin(early)
		synctest.Wait()
		for at := 10; at < len(text); at += 1000 {
			if at == 100010 {
				begin(follow(t, s, "shop.example/", 50, false))
			}
			filling.Write([]byte(text[at:min(at+1000, len(text))]))
			if at%5000 == 10 {
				synctest.Wait()
			}
		}
		if len(read) != 0 || len(whole.outcomes) != 0 {
			t.Error("ended before the end")
		}
		if !filling.Finish() {
			t.Error("not stored")
		}
		for range 100 {
			if <-read != text {
				t.Fatal("another body")
			}
		}
		if body, err := io.ReadAll(own); string(body) != text || err != nil {
			t.Error("the leader's own reader got something else", err)
		}
		expect(t, whole, "50 objects, 0 bodies, 0 lead, 0 alone")
		s.idle(t)
		x.check(t)
	})
}

func TestWhatCannotBeSharedIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/")
		waiting := follow(t, s, "shop.example/", 20, false)
		leader.Refuse(true)
		leader.Leave()
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 20 alone")
		goesAlone := func() *testFlight {
			t.Helper()
			f, w := s.Join(flightKey("shop.example/"), nil)
			if w != nil || f.Leads() {
				t.Fatal("waits, or lets others wait, for what cannot be shared")
			}
			return f
		}
		goesAlone()
		lead(t, s, "shop.example/other").Leave()

		time.Sleep(unsharedTime - time.Second)
		goesAlone().Refuse(true) // so it is remembered longer
		time.Sleep(unsharedTime - time.Second)
		goesAlone()
		time.Sleep(2 * time.Second)
		leader = lead(t, s, "shop.example/")
		leader.Refuse(true)

		// An answer that is stored ends it.
		if filling := goesAlone().Open(made("shop.example/", ""), 0); !filling.Finish() {
			t.Error("not stored")
		}
		leader = lead(t, s, "shop.example/")

		// Such as an error, of which nothing follows for the next answer.
		waiting = follow(t, s, "shop.example/", 20, false)
		leader.Refuse(false)
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 20 alone")
		lead(t, s, "shop.example/").Leave()
		s.idle(t)
		x.check(t)
	})
}

// However a leader goes, exactly one of those who wait leads anew.
func TestOneLeadsAnewWhenTheLeaderFails(t *testing.T) {
	for name, fail := range map[string]func(f *testFlight){
		"leaves": func(f *testFlight) { f.Leave() },
		"panics": func(f *testFlight) {
			defer func() { _ = recover() }()
			defer f.Leave()
			panic("made to")
		},
		"breaks off without a length": func(f *testFlight) {
			filling := f.Open(made("shop.example/", ""), -1)
			filling.Write([]byte("half"))
			f.Leave()
			filling.Fail(io.ErrUnexpectedEOF)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, s := newFlights(Config{})
				leader := lead(t, s, "shop.example/")
				waiting := follow(t, s, "shop.example/", 10, false)
				for left := waiting.n - 1; left >= 0; left-- {
					fail(leader)
					synctest.Wait()
					if len(waiting.outcomes) != 1 {
						t.Fatalf("%d went on, want one", len(waiting.outcomes))
					}
					if leader = (<-waiting.outcomes).Flight; leader == nil || !leader.Leads() {
						t.Fatal("nobody leads anew")
					}
				}
				o := made("shop.example/", "")
				if !leader.Open(o, -1).Finish() {
					t.Error("not stored")
				}
				s.idle(t)
				x.check(t)
				if u := x.Usage(); u.Objects != 1 {
					t.Errorf("%+v", u)
				}
			})
		})
	}
}

func TestBrokenBodyIsNotStoredAndBreaksThoseWhoBegan(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		end  func(f *Filling[int, string, string])
		want error
	}{
		"fails":         {func(f *Filling[int, string, string]) { f.Fail(broken) }, broken},
		"fails somehow": {func(f *Filling[int, string, string]) { f.Fail(nil) }, io.ErrUnexpectedEOF},
		"is too short":  {func(f *Filling[int, string, string]) { f.Finish() }, io.ErrUnexpectedEOF},
		"is too long": {func(f *Filling[int, string, string]) {
			if _, err := f.Write(make([]byte, 7)); err != ErrOverlong {
				t.Errorf("wrote too much: %v", err)
			}
		}, ErrOverlong},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, s := newFlights(Config{})
				leader := lead(t, s, "shop.example/")
				begun := follow(t, s, "shop.example/", 10, false)
				whole := follow(t, s, "shop.example/", 1, true)
				filling := leader.Open(made("shop.example/", ""), 10)
				filling.Write([]byte("half"))
				_, bodies, _, _ := begun.sorted()
				tc.end(filling)
				for _, o := range bodies {
					if body, err := io.ReadAll(o.Body); string(body) != "half" || err != tc.want {
						t.Fatalf("read %q, %v", body, err)
					}
				}
				if _, err := filling.Write([]byte("rest")); err != ErrEnded || filling.Finish() {
					t.Errorf("goes on behind the end: %v", err)
				}
				expect(t, whole, "0 objects, 0 bodies, 1 lead, 0 alone")
				if len(bodies) != 10 || x.Usage().Objects != 0 {
					t.Errorf("%d began; %+v", len(bodies), x.Usage())
				}
				x.check(t)
			})
		})
	}
}

func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{MaxObject: 10000})
		leader := lead(t, s, "shop.example/")
		waiting := follow(t, s, "shop.example/", 10, false)
		filling := leader.Open(made("shop.example/", ""), -1)
		own := filling.Reader(nil)
		if n, err := filling.Write(make([]byte, 9999)); n != 9999 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := filling.Write(make([]byte, 2)); n != 0 || err != ErrOverflow {
			t.Fatal(n, err)
		}
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 10 alone")
		if body, err := io.ReadAll(own); len(body) != 9999 || err != ErrOverflow {
			t.Errorf("the leader reads %d bytes, %v", len(body), err)
		}
		if f, w := s.Join(flightKey("shop.example/"), nil); w != nil || f.Leads() {
			t.Error("not remembered")
		}
		s.idle(t)

		leader = lead(t, s, "shop.example/announced")
		waiting = follow(t, s, "shop.example/announced", 10, false)
		if leader.Open(made("shop.example/announced", ""), 10001) != nil {
			t.Error("gathers what is announced as too large")
		}
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 10 alone")
		if f, w := s.Join(flightKey("shop.example/announced"), nil); w != nil || f.Leads() {
			t.Error("not remembered")
		}
		s.idle(t)
		x.check(t)
	})
}

// Each follower gets an answer only if that is for its request. Those whose request
// is another one need not wait in a row for that.
func TestFollowersOfOtherSelectingValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/", "lang=en")
		en := follow(t, s, "shop.example/", 10, false, "lang=en")
		de := follow(t, s, "shop.example/", 10, false, "lang=de")
		o := made("shop.example/", "", "lang=en")
		leader.Open(o, -1).Finish()
		objects, _, _, _ := en.sorted()
		if len(objects) != 10 || objects[0].Object != o {
			t.Errorf("%d got the answer", len(objects))
		}
		synctest.Wait()
		if len(de.outcomes) != 1 {
			t.Fatalf("%d of the others went on, want one that leads", len(de.outcomes))
		}
		de.n--
		other := made("shop.example/", "", "lang=de")
		(<-de.outcomes).Flight.Open(other, -1).Finish()
		objects, _, _, _ = de.sorted()
		if len(objects) != 9 || objects[0].Object != other {
			t.Errorf("%d got the other answer", len(objects))
		}
		s.idle(t)

		// Nor do they wait for the end of a body that is not for them.
		leader = lead(t, s, "shop.example/a", "lang=en")
		de = follow(t, s, "shop.example/a", 10, false, "lang=de")
		filling := leader.Open(made("shop.example/a", "", "lang=en"), 100)
		synctest.Wait()
		if len(de.outcomes) != 1 {
			t.Fatalf("%d of the others went on, want one that leads", len(de.outcomes))
		}
		de.n--
		(<-de.outcomes).Flight.Open(made("shop.example/a", "", "lang=de"), -1).Finish()
		expect(t, de, "9 objects, 0 bodies, 0 lead, 0 alone")
		filling.Fail(nil)

		// What selects is known now, so they do not even wait for the head.
		lead(t, s, "shop.example/", "lang=en").Leave()
		first, second := lead(t, s, "shop.example/", "lang=en"), lead(t, s, "shop.example/", "lang=de")
		first.Leave()
		second.Leave()
		s.idle(t)
		x.check(t)
	})
}

// The origin may name other fields than it did, with equal values.
func TestFollowersWhenVaryChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		x.Put(made("shop.example/", "old", "lang=x"))
		leader := lead(t, s, "shop.example/", "lang=x", "agent=y")
		waiting := follow(t, s, "shop.example/", 5, false, "lang=x", "agent=x")
		o := made("shop.example/", "", "agent=y")
		filling := leader.Open(o, 5)
		synctest.Wait()
		// They are for the same flight by values, and get no answer that is not for them.
		objects, bodies, _, alone := waiting.sorted()
		if len(objects)+len(bodies) != 0 || len(alone) == 0 {
			t.Errorf("%d objects, %d bodies, %d alone", len(objects), len(bodies), len(alone))
		}
		filling.Fail(nil)
	})
}

func TestPurgeInTheMiddle(t *testing.T) {
	for name, purge := range map[string]func(x *testObjects){
		"URL":        func(x *testObjects) { x.PurgeURL("shop.example", "/", PurgeHard) },
		"tag":        func(x *testObjects) { x.PurgeTag("tag", PurgeHard) },
		"soft":       func(x *testObjects) { x.PurgeTag("tag", PurgeSoft) },
		"everything": func(x *testObjects) { x.PurgeAll(PurgeHard) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, s := newFlights(Config{})
				leader := lead(t, s, "shop.example/")
				waiting := follow(t, s, "shop.example/", 10, false)
				filling := leader.Open(tagged(made("shop.example/", ""), "tag"), 4)
				filling.Write([]byte("ol"))
				_, begun, _, _ := waiting.sorted()
				whole := follow(t, s, "shop.example/", 10, true)
				purge(x)
				next := lead(t, s, "shop.example/") // nobody who comes later joins what was purged
				filling.Write([]byte("d!"))
				if kept := filling.Finish(); kept != (name == "soft") || kept && !x.ask("shop.example/").PurgedSoftly() {
					t.Error("stored as fresh what was purged")
				}
				for _, o := range begun {
					if body, err := io.ReadAll(o.Body); string(body) != "old!" || err != nil {
						t.Errorf("one that had begun got %q, %v", body, err)
					}
				}
				synctest.Wait()
				if len(begun) != 10 || len(whole.outcomes) != 0 {
					t.Fatalf("%d had begun, %d went on", len(begun), len(whole.outcomes))
				}
				o := made("shop.example/", "")
				if !next.Open(o, 0).Finish() {
					t.Error("the later one is not stored")
				}
				objects, _, _, _ := whole.sorted()
				if len(objects) != 10 || objects[0].Object != o {
					t.Errorf("%d got the later one", len(objects))
				}
				s.idle(t)
				x.check(t)
			})
		})
	}
}

// A purge that comes before the head concerns those who asked behind it.
func TestPurgeBeforeTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/")
		x.PurgeURL("shop.example", "/", PurgeHard)
		waiting := follow(t, s, "shop.example/", 10, false)
		filling := leader.Open(made("shop.example/", ""), 3)
		synctest.Wait()
		if len(waiting.outcomes) != 1 {
			t.Fatalf("%d went on, want one that leads", len(waiting.outcomes))
		}
		next := (<-waiting.outcomes).Flight
		filling.Write([]byte("old"))
		filling.Finish()
		waiting.n--
		next.Open(made("shop.example/", ""), -1).Finish()
		expect(t, waiting, "9 objects, 0 bodies, 0 lead, 0 alone")
		s.idle(t)
		x.check(t)
	})
}

func TestFollowersWaitNoLongerThanTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/")
		begin := time.Now()
		waiting := follow(t, s, "shop.example/", 10, false)
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 10 alone")
		if took := time.Since(begin); took != time.Second {
			t.Errorf("waited %v", took)
		}
		// Of a body without a length, until its end.
		filling := leader.Open(made("shop.example/", ""), -1)
		waiting = follow(t, s, "shop.example/", 10, false)
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 10 alone")

		// All flights that they are sent on to count together.
		begin = time.Now()
		_, w := s.Join(flightKey("shop.example/"), nil)
		time.Sleep(400 * time.Millisecond) // of the leader, not of the limit
		go func() {
			time.Sleep(600 * time.Millisecond)
			filling.Fail(nil)
			lead, w := s.Join(flightKey("shop.example/"), nil)
			if w != nil {
				w.Wait(0, false, nil)
				return
			}
			time.Sleep(time.Minute)
			lead.Leave()
		}()
		out := w.Wait(time.Second, false, nil)
		if out.Flight == nil || time.Since(begin) > 1400*time.Millisecond {
			t.Errorf("waited %v", time.Since(begin))
		}
		out.Flight.Leave()

		gone := make(chan struct{})
		leader = lead(t, s, "shop.example/gone")
		_, w = s.Join(flightKey("shop.example/gone"), nil)
		close(gone)
		if out := w.Wait(time.Hour, false, gone); out.Flight == nil || out.Flight.Leads() {
			t.Errorf("%+v", out)
		}
		leader.Leave()
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		s.idle(t)
		x.check(t)
	})
}

// A leader that is stuck for ever keeps nobody waiting for ever.
func TestStuckFlightIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newFlights(Config{})
		stuck := lead(t, s, "shop.example/")
		time.Sleep(flightTime)
		waiting := follow(t, s, "shop.example/", 1, false)
		time.Sleep(time.Millisecond)
		next := lead(t, s, "shop.example/")
		stuck.Leave()
		synctest.Wait()
		if len(waiting.outcomes) != 0 {
			t.Error("the one that waited does not follow the next")
		}
		next.Open(made("shop.example/", ""), -1).Finish()
		expect(t, waiting, "1 objects, 0 bodies, 0 lead, 0 alone")
	})
}

func TestReaderThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newFlights(Config{})
		filling := lead(t, s, "shop.example/").Open(made("shop.example/", ""), 10)
		gone := make(chan struct{})
		r := filling.Reader(gone)
		done := make(chan error)
		go func() {
			_, err := io.ReadAll(r)
			done <- err
		}()
		synctest.Wait()
		close(gone)
		if err := <-done; err != ErrGone {
			t.Error(err)
		}
		filling.Fail(nil)
	})
}

func TestFoundObjectServesTheFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		old := made("shop.example/", "body", "lang=en")
		x.Put(old)
		x.PurgeURL("shop.example", "/", PurgeSoft)
		leader := lead(t, s, "shop.example/", "lang=en")
		waiting := follow(t, s, "shop.example/", 10, true, "lang=en")
		fresh := old.Renew(true)
		fresh.Began = leader.Began()
		if !x.Put(fresh) || fresh.PurgedSoftly() {
			t.Error("stale after it was confirmed")
		}
		leader.Found(fresh)
		leader.Leave()
		expect(t, waiting, "10 objects, 0 bodies, 0 lead, 0 alone")

		// The origin is away, and the stale one serves.
		x.PurgeURL("shop.example", "/", PurgeSoft)
		leader = lead(t, s, "shop.example/", "lang=en")
		waiting = follow(t, s, "shop.example/", 10, true, "lang=en")
		leader.Found(x.ask("shop.example/", "lang=en"))
		expect(t, waiting, "10 objects, 0 bodies, 0 lead, 0 alone")

		// A purge of another URL that falls into the same class.
		o := made("shop.example/", "body", "lang=en")
		o.Began = x.Sequence()
		x.Put(o)
		other := 0
		for x.hashURL("shop.example", fmt.Sprint("/", other))%urlMarks != x.hashURL("shop.example", "/")%urlMarks {
			other++
		}
		x.PurgeURL("shop.example", fmt.Sprint("/", other), PurgeHard)
		leader = lead(t, s, "shop.example/", "lang=en")
		waiting = follow(t, s, "shop.example/", 10, true, "lang=en")
		leader.Found(o)
		expect(t, waiting, "10 objects, 0 bodies, 0 lead, 0 alone")

		// Purged in the meantime, and so nobody's answer any more.
		for _, how := range []Purge{PurgeHard, PurgeSoft} {
			o := made("shop.example/", "body", "lang=en")
			o.Began = x.Sequence()
			x.Put(o)
			leader = lead(t, s, "shop.example/", "lang=en")
			_, w := s.Join(flightKey("shop.example/"), asking("lang=en"))
			leader.Found(o)
			x.PurgeURL("shop.example", "/", how)
			out := w.Wait(time.Second, true, nil)
			if out.Flight == nil || !out.Flight.Leads() {
				t.Fatalf("purge %d: %+v", how, out)
			}
			out.Flight.Leave()
		}
		s.idle(t)
		x.check(t)
	})
}

func TestFlightsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{ObjectMemory: 1 << 20})
		var flights []*testFlight
		for i := range maxFlights {
			flights = append(flights, lead(t, s, fmt.Sprint("shop.example/", i)))
		}
		if f, w := s.Join(flightKey("shop.example/more"), nil); w != nil || f.Leads() {
			t.Error("one more leads")
		}
		if s.Usage().Crowded != 1 {
			t.Errorf("%+v", s.Usage())
		}
		// Memory for bodies: half of what is free for each.
		var fillings []*Filling[int, string, string]
		bytes := 0
		for i, f := range flights {
			filling := f.Open(made(fmt.Sprint("shop.example/", i), ""), 100<<10)
			if filling == nil {
				break
			}
			bytes += 100 << 10
			fillings = append(fillings, filling)
		}
		if u := s.Usage(); len(fillings) != 1 || u.Bytes != int64(bytes) {
			t.Errorf("%d bodies: %+v", len(fillings), u)
		}
		for i, f := range flights[10:] {
			filling := f.Open(made(fmt.Sprint("shop.example/", i+10), ""), -1)
			if filling == nil {
				t.Fatal("not opened")
			}
			fillings = append(fillings, filling)
			if _, err := filling.Write(make([]byte, 1000)); err != nil {
				break
			}
		}
		if u := s.Usage(); u.Bytes > 256<<10 || len(fillings) < 20 {
			t.Errorf("%d bodies: %+v", len(fillings), u)
		}
		for _, f := range fillings {
			f.Fail(nil)
		}
		for _, f := range flights {
			f.Leave()
		}
		s.idle(t)
		x.check(t)
	})
}

// What is told first counts.
func TestFlightIsDecidedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, s := newFlights(Config{})
		leader := lead(t, s, "shop.example/")
		waiting := follow(t, s, "shop.example/", 3, false)
		leader.Refuse(false)
		if leader.Open(made("shop.example/", ""), 1000) != nil {
			t.Error("opened what was refused")
		}
		leader.Found(made("shop.example/", "body"))
		expect(t, waiting, "0 objects, 0 bodies, 0 lead, 3 alone")
		s.idle(t)

		leader = lead(t, s, "shop.example/")
		_, w := s.Join(flightKey("shop.example/"), nil)
		o := made("shop.example/", "")
		filling := leader.Open(o, 4)
		filling.Write([]byte("body"))
		leader.Refuse(false)
		filling.Finish()
		if out := w.Wait(time.Second, false, nil); out.Object != o || out.Body != nil || string(o.Body) != "body" {
			t.Errorf("one who looks when it is complete gets %+v", out)
		}
		s.idle(t)
		x.check(t)
	})
}

func TestNoFlights(t *testing.T) {
	s := NewFlights[int, string, string](nil, time.Now)
	for range 2 {
		f, w := s.Join(flightKey("shop.example/"), nil)
		if w != nil || f.Leads() || f.Began() != 0 || f.Open(made("shop.example/", ""), 3) != nil {
			t.Error("somebody can follow without an index")
		}
		f.Found(nil)
		f.Refuse(true)
		f.Leave()
	}
	if s.Usage() != (FlightUsage{}) {
		t.Error(s.Usage())
	}
}

// Whatever origin, leaders and purges do, each request ends, with its own answer.
func TestFlightsTogether(t *testing.T) {
	x, s := newFlights(Config{ObjectMemory: 1 << 20, MaxObject: 40 << 10})
	// What each URL shows, and what it showed when the last purge was done: nobody who
	// asks after that may get something older.
	var shown, purged [3]atomic.Uint64
	var asked atomic.Int64
	text := func(lang string, n uint64, size int) string {
		return strings.Repeat(fmt.Sprintf("%s %08d;", lang, n), size)
	}
	var wg sync.WaitGroup
	for worker := range 32 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(worker)))
			for range 300 {
				n := random.IntN(len(shown))
				url := fmt.Sprintf("shop.example/%d", n)
				lang := []string{"en", "de"}[random.IntN(2)]
				began := purged[n].Load()
				right := func(body string) {
					if len(body) == 0 {
						return
					}
					var n uint64
					if _, err := fmt.Sscanf(body, lang+" %d;", &n); err != nil || n < began || body != text(lang, n, len(body)/12) {
						t.Errorf("%s in %s from version %d on got %.40q", url, lang, began, body)
					}
				}
				key, selecting := flightKey(url), asking("lang="+lang)
				if o, _ := x.Get(key, selecting); o != nil {
					right(string(o.Body))
					if random.IntN(4) == 0 {
						now := shown[n].Add(1)
						x.PurgeURL("shop.example", o.Target, PurgeHard)
						raise(&purged[n], now)
					}
					continue
				}
				f, w := s.Join(key, selecting)
				if w != nil {
					out := w.Wait(time.Second, random.IntN(2) == 0, nil)
					switch {
					case out.Body != nil:
						if body, err := io.ReadAll(out.Body); err == nil {
							right(string(body))
						}
						continue
					case out.Object != nil:
						right(string(out.Object.Body))
						continue
					}
					f = out.Flight
				}
				func() {
					defer func() { _ = recover() }()
					defer f.Leave()
					asked.Add(1)
					body := text(lang, shown[n].Load(), random.IntN(5000))
					length := len(body)
					if random.IntN(2) == 0 {
						length = -1
					}
					switch random.IntN(10) {
					case 0:
						return
					case 1:
						panic("made to")
					case 2:
						f.Refuse(random.IntN(4) == 0)
						return
					}
					filling := f.Open(made(url, "", "lang="+lang), length)
					if filling == nil {
						return
					}
					broken := random.IntN(5) == 0
					wg.Go(func() {
						defer filling.Fail(nil)
						for len(body) > 0 {
							n := min(len(body), 3000)
							if _, err := filling.Write([]byte(body[:n])); err != nil || broken && len(body) < 5000 {
								return
							}
							body = body[n:]
						}
						filling.Finish()
					})
					if got, err := io.ReadAll(filling.Reader(nil)); err == nil {
						right(string(got))
					}
				}()
			}
		})
	}
	wg.Wait()
	s.idle(t)
	x.check(t)
	if u := s.Usage(); u.Served == 0 || u.Stored == 0 {
		t.Errorf("%d requests to the origin: %+v", asked.Load(), u)
	}
}
