package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/event"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/profile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet = slog.New(slog.DiscardHandler)
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func fixedNow() time.Time { return start }

// node is log, ledger and intake in one directory.
type node struct {
	dir    string
	log    *event.Log
	ledger *Ledger
	live   *profile.Live
	intake *Intake
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func openNode(t fataler, dir string, cfg event.Config) *node {
	t.Helper()
	n := &node{dir: dir}
	var err error
	if n.log, err = event.OpenLog(filepath.Join(dir, "events"), cfg, fixedNow, quiet); err != nil {
		t.Fatal(err)
	}
	if n.ledger, err = Open(dir, n.log, Config{}, fixedNow, quiet); err != nil {
		t.Fatal(err)
	}
	if err := n.ledger.CatchUp(context.Background()); err != nil {
		t.Fatal(err)
	}
	n.live = profile.NewLive(n.ledger.Profiles(), profile.Config{})
	n.ledger.Tell(n.live)
	goals, faults := kpi.CompileGoals([]kpi.Goal{{Name: "purchase", Event: kpi.OrderCompleted}, {Name: "thanks", URL: "/thanks"}})
	if faults != nil {
		t.Fatal(faults)
	}
	n.intake, err = NewIntake(n.log, n.live, func() *kpi.Goals { return goals }, IntakeConfig{}, fixedNow, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) close(t fataler) {
	t.Helper()
	if err := errors.Join(n.log.Close(), n.ledger.Close()); err != nil {
		t.Fatal(err)
	}
}

func newNode(t *testing.T) *node {
	n := openNode(t, t.TempDir(), event.Config{})
	t.Cleanup(func() { n.log.Close(); n.ledger.Close() })
	return n
}

func buy(id, visitor, order string, units float64) event.Event {
	return event.Event{
		ID: id, Type: event.Track, Name: kpi.OrderCompleted, Visitor: visitor, Segment: "vip",
		Properties: map[string]any{"order_id": order, "revenue": units},
	}
}

func view(id, visitor string) event.Event {
	return event.Event{ID: id, Type: event.Page, Visitor: visitor, Path: "/"}
}

func accept(t fataler, n *node, events ...event.Event) {
	t.Helper()
	if err := n.intake.Accept(context.Background(), events); err != nil {
		t.Fatal(err)
	}
}

func catchUp(t fataler, n *node) {
	t.Helper()
	if err := n.ledger.CatchUp(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func summary(t fataler, n *node) kpi.Summary {
	t.Helper()
	s, err := n.ledger.Summary(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func snapshot(t fataler, n *node, id string) *decision.Profile {
	t.Helper()
	p, err := n.live.Snapshot(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func stored(t fataler, n *node, id string) *decision.Profile {
	t.Helper()
	s, _, err := n.ledger.Profiles().Load(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if s == nil {
		s = &profile.State{}
	}
	return s.Snapshot()
}

func TestAcceptedEventCountsInMemoryInStoreAndInSums(t *testing.T) {
	n := newNode(t)
	accept(t, n, view("1", "v"), buy("2", "v", "o1", 12.5), buy("3", "v", "o1", 12.5))
	p := snapshot(t, n, "v")
	if p.PageViews != 1 || p.Orders != 1 || p.Revenue != 12.5e6 || p.Counts[kpi.OrderCompleted] != 2 {
		t.Fatalf("%+v", p)
	}
	if n.ledger.Stats().Lag == 0 {
		t.Fatal("nothing waits for the ledger")
	}
	catchUp(t, n)
	if diff := cmp.Diff(p, stored(t, n, "v")); diff != "" {
		t.Fatal(diff)
	}
	g := summary(t, n).Site.Confirmed
	if g.Visitors != 1 || g.Goal("purchase").Conversions != 1 || g.Any.Revenue != 12.5e6 {
		t.Fatalf("%+v", g)
	}
	if s := n.live.Stats(); s.Dirty != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestCrashBetweenLogAndLedgerLosesAndDoublesNothing(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		n := openNode(t, dir, event.Config{})
		if p := snapshot(t, n, "v"); p.Orders != int64(round) {
			t.Fatalf("round %d: %d orders after the crash", round, p.Orders)
		}
		if g := summary(t, n).Site.Confirmed; g.Any.Conversions != int64(round) {
			t.Fatalf("round %d: %+v", round, g)
		}
		accept(t, n, buy(fmt.Sprint(round), "v", fmt.Sprint(round), 1))
		n.close(t) // the ledger has not read the last event
	}
}

func TestEventsSentAgainAreRecognizedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir, event.Config{})
	accept(t, n, view("a", "v"), view("b", "v"))
	traffic := view("t", "v")
	if n.intake.Record([]event.Event{traffic}) != 1 {
		t.Fatal("dropped")
	}
	n.close(t)
	n = openNode(t, dir, event.Config{})
	defer n.close(t)
	if got := n.intake.Stats().Remembered; got != 2 {
		t.Fatalf("%d ids are remembered, want those of the API alone", got)
	}
	accept(t, n, view("a", "v"), view("c", "v"), view("c", "v"))
	catchUp(t, n)
	if p := stored(t, n, "v"); p.PageViews != 4 {
		t.Fatalf("%d page views", p.PageViews)
	}
	if s := n.intake.Stats(); s.Accepted != 1 || s.Duplicates != 2 {
		t.Fatalf("%+v", s)
	}
}

// The clock was two days behind, was set, and the node started again: what was
// sent a moment ago carries an old date, and is still recognized.
func TestEventsSentAgainAreRecognizedAfterTheClockWasSet(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir, event.Config{})
	accept(t, n, view("a", "v"))
	n.close(t)
	files, err := filepath.Glob(filepath.Join(dir, "events", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	behind := fixedNow().Add(-48 * time.Hour)
	if err := os.Chtimes(files[0], behind, behind); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, dir, event.Config{})
	defer n.close(t)
	accept(t, n, view("a", "v"))
	catchUp(t, n)
	if p := stored(t, n, "v"); p.PageViews != 1 {
		t.Fatalf("%d page views", p.PageViews)
	}
}

// A page view that nobody waits for is still in the queue when the node stops; a
// report from the files must not miss it.
func TestCatchUpTakesWhatStillWaitsForTheDisk(t *testing.T) {
	n := openNode(t, t.TempDir(), event.Config{FsyncInterval: time.Second})
	defer n.close(t)
	e := view("a", "v")
	if n.intake.Record([]event.Event{e}) != 1 {
		t.Fatal("dropped")
	}
	catchUp(t, n)
	if p := stored(t, n, "v"); p.PageViews != 1 {
		t.Fatalf("%d page views", p.PageViews)
	}
}

func TestLostDatabaseIsRebuiltFromTheLog(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir, event.Config{SegmentSize: 4096})
	for i := range 60 {
		accept(t, n, buy(fmt.Sprint("b", i), fmt.Sprint("v", i%7), fmt.Sprint("o", i), float64(i)), view(fmt.Sprint("p", i), fmt.Sprint("v", i%5)))
	}
	catchUp(t, n)
	want, profiles := summary(t, n), map[string]*decision.Profile{}
	for i := range 7 {
		profiles[fmt.Sprint("v", i)] = stored(t, n, fmt.Sprint("v", i))
	}
	n.close(t)
	if err := os.Rename(filepath.Join(dir, FileName), filepath.Join(dir, "away.db")); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, dir, event.Config{SegmentSize: 4096})
	defer n.close(t)
	if diff := cmp.Diff(want, summary(t, n)); diff != "" {
		t.Fatal(diff)
	}
	for id, p := range profiles {
		if diff := cmp.Diff(p, stored(t, n, id)); diff != "" {
			t.Fatal(id, diff)
		}
	}
}

func TestLostLogDoesNotLoseNewEvents(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir, event.Config{})
	for i := range 20 {
		accept(t, n, view(fmt.Sprint(i), "v"))
	}
	catchUp(t, n)
	n.close(t)
	if err := os.RemoveAll(filepath.Join(dir, "events")); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, dir, event.Config{})
	defer n.close(t)
	accept(t, n, view("new", "v"))
	catchUp(t, n)
	if p := stored(t, n, "v"); p.PageViews != 21 {
		t.Fatalf("%d page views", p.PageViews)
	}
}

func TestReplayInAnyBatchesGivesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "ledger")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		n := openNode(t, dir, event.Config{})
		defer func() { n.close(t) }()
		var all []event.Event
		for i := range rapid.IntRange(1, 30).Draw(t, "events") {
			e := view(fmt.Sprint(i), rapid.SampledFrom([]string{"u", "v"}).Draw(t, "visitor"))
			if rapid.Bool().Draw(t, "order") {
				e = buy(e.ID, e.Visitor, rapid.SampledFrom([]string{"1", "2"}).Draw(t, "id"), 3)
			}
			e.Time = start.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "age")) * time.Minute)
			accept(t, n, e)
			all = append(all, e)
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				catchUp(t, n)
			case 1:
				n.close(t)
				n = openNode(t, dir, event.Config{})
			}
		}
		catchUp(t, n)
		totals := kpi.Totals{}
		for _, id := range []string{"u", "v"} {
			row, state := &kpi.Row{}, &profile.State{}
			for i := range all {
				if all[i].Visitor == id {
					n.intake.goals().Resolve(&all[i])
					row.Apply(&all[i])
					state.Apply(&all[i])
				}
			}
			row.AddTo(totals)
			if diff := cmp.Diff(state.Snapshot(), stored(t, n, id)); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(state.Snapshot(), snapshot(t, n, id)); diff != "" {
				t.Fatal(diff)
			}
		}
		if diff := cmp.Diff(totals.Summary(), summary(t, n)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRunWritesUntilItIsStopped(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.ledger.Run(ctx) }()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 50 {
				e := view(fmt.Sprint(w, "-", i), "v")
				if err := n.intake.Accept(context.Background(), []event.Event{e}); err != nil {
					t.Error(err)
				}
				if _, err := n.live.Snapshot(context.Background(), "v"); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	deadline := time.After(10 * time.Second)
	for n.ledger.Stats().Lag > 0 {
		select {
		case <-deadline:
			t.Fatal("the ledger does not follow the log")
		case <-time.After(time.Millisecond):
		}
	}
	if p := stored(t, n, "v"); p.PageViews != 200 {
		t.Fatalf("%d page views", p.PageViews)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestAwaitHoldsNobodyForTheDisk asks for what is durable while a write hangs, and while the
// ledger rests.
func TestAwaitHoldsNobodyForTheDisk(t *testing.T) {
	n := newNode(t)
	n.ledger.cfg.BatchInterval = time.Hour
	accept(t, n, view("1", "v"))
	n.ledger.applying.Lock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.ledger.Run(ctx) }()
	short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	if err := n.ledger.Await(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the disk hangs: %v", err)
	}
	n.ledger.applying.Unlock()
	long, end := context.WithTimeout(ctx, 10*time.Second)
	defer end()
	if err := n.ledger.Await(long); err != nil {
		t.Error(err)
	}
	if p := stored(t, n, "v"); p.PageViews != 1 {
		t.Errorf("%d page views", p.PageViews)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunOutlivesWritesThatFail(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	accept(t, n, view("1", "v"))
	catchUp(t, n)
	limit := n.ledger.db.db.MaxSize
	n.ledger.db.db.MaxSize = 1 // bbolt's own way of a full disk
	big := view("2", "v")
	for i := range 400 {
		accept(t, n, event.Event{ID: fmt.Sprint("big", i), Type: event.Identify, Visitor: fmt.Sprint("w", i), Traits: map[string]any{"text": strings.Repeat("x", 500)}})
	}
	accept(t, n, big)
	done := make(chan error, 1)
	go func() { done <- n.ledger.Run(ctx) }()
	deadline := time.After(10 * time.Second)
	for n.ledger.Stats().Failures < 2 {
		select {
		case <-deadline:
			t.Fatalf("no write failed: %+v", n.ledger.Stats())
		case <-time.After(time.Millisecond):
		}
	}
	if p := snapshot(t, n, "v"); p.PageViews != 2 {
		t.Fatalf("%d page views while the ledger fails", p.PageViews)
	}
	n.ledger.applying.Lock()
	n.ledger.db.db.MaxSize = limit
	n.ledger.applying.Unlock()
	for n.ledger.Stats().Lag > 0 {
		select {
		case <-deadline:
			t.Fatal("the ledger does not recover")
		case <-time.After(time.Millisecond):
		}
	}
	if p := stored(t, n, "v"); p.PageViews != 2 || n.ledger.Stats().Failure != "" {
		t.Fatalf("%d page views, %+v", p.PageViews, n.ledger.Stats())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	n := newNode(t)
	_, err := OpenReadOnly(n.dir)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "another sedge is using "+n.dir) {
		t.Fatalf("got %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(dir); err == nil || !strings.Contains(err.Error(), "there is no") {
		t.Fatalf("got %v", err)
	}
	n := openNode(t, dir, event.Config{})
	accept(t, n, buy("1", "v", "o", 5))
	catchUp(t, n)
	want := summary(t, n)
	n.close(t)
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := r.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if s, _, err := r.Profiles().Load(t.Context(), "v"); err != nil || s.Snapshot().Orders != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestDamagedFile damages the database in many ways. Whatever the damage, the
// answer is either right or an error that says what to do, and never a crash.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir, event.Config{})
	var events []event.Event
	for i := range 300 {
		events = append(events, buy(fmt.Sprint(i), fmt.Sprint("v", i), fmt.Sprint(i), 5))
	}
	accept(t, n, events...)
	catchUp(t, n)
	n.close(t)
	whole, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	damages := map[string]func(b []byte) []byte{
		"text":          func([]byte) []byte { return []byte("this is not a database") },
		"cut in metas":  func(b []byte) []byte { return b[:page+100] },
		"cut at 3":      func(b []byte) []byte { return b[:3*page] },
		"cut in half":   func(b []byte) []byte { return b[:len(b)/2/page*page] },
		"zeroed":        func(b []byte) []byte { clear(b); return b },
		"zeroed pages":  func(b []byte) []byte { clear(b[2*page:]); return b },
		"garbage pages": func(b []byte) []byte { fill(b[2*page:], 0xA7); return b },
		"both metas":    func(b []byte) []byte { fill(b[20:60], 1); fill(b[page+20:page+60], 1); return b },
	}
	for at := 2; at < len(whole)/page && at < 40; at += 3 {
		damages[fmt.Sprintf("page %d", at)] = func(b []byte) []byte { fill(b[at*page:(at+1)*page], byte(at*37)); return b }
		damages[fmt.Sprintf("in page %d", at)] = func(b []byte) []byte { fill(b[at*page+8:at*page+64], byte(at*91)); return b }
	}
	refused := 0
	for name, damage := range damages {
		if err := useDamaged(t, damage(append([]byte(nil), whole...))); err != nil {
			refused++
			for _, part := range []string{FileName, "damaged", "move the file away"} {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), part) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	if refused < 8 {
		t.Fatalf("only %d of %d kinds of damage were noticed", refused, len(damages))
	}
}

func fill(b []byte, with byte) {
	for i := range b {
		b[i] = with
	}
}

// useDamaged opens a database with these bytes, reads and writes, and returns
// the first error.
func useDamaged(t *testing.T, content []byte) error {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), content, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := event.OpenLog(filepath.Join(dir, "events"), event.Config{}, fixedNow, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	l, err := Open(dir, log, Config{}, fixedNow, quiet)
	if err != nil {
		return err
	}
	defer l.Close()
	for i := range 300 {
		if _, _, err := l.Profiles().Load(t.Context(), fmt.Sprint("v", i)); err != nil {
			return err
		}
	}
	if _, err := l.Summary(t.Context()); err != nil {
		return err
	}
	for i := range 300 {
		e := view(fmt.Sprint("n", i), fmt.Sprint("v", i))
		e.Time, e.Received = start, start
		if _, err := log.Append(&e); err != nil {
			t.Fatal(err)
		}
	}
	end, err := log.Append(&event.Event{ID: "end", Type: event.Page, Visitor: "v", Time: start})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Commit(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	return l.CatchUp(t.Context())
}

func TestUnknownSchemaIsRefused(t *testing.T) {
	n := newNode(t)
	err := n.ledger.db.update(func(tx *bbolt.Tx) error {
		return tx.Bucket(metaBucket).Put(versionKey, encodeNumber(99))
	})
	if err != nil {
		t.Fatal(err)
	}
	n.close(t)
	log, err := event.OpenLog(filepath.Join(n.dir, "events"), event.Config{}, fixedNow, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := Open(n.dir, log, Config{}, fixedNow, quiet); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v", err)
	}
}
