package event

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func fixedNow() time.Time { return start }

func mustOpen(t *testing.T, dir string, cfg Config) *Log {
	t.Helper()
	l, err := OpenLog(dir, cfg, fixedNow, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func sample(i int) *Event {
	return &Event{
		ID: fmt.Sprintf("id-%d", i), Type: Track, Name: "Clicked", Visitor: fmt.Sprintf("v%d", i%7),
		Time: start, Received: start, Properties: map[string]any{"text": strings.Repeat("x", i%50), "n": float64(i)},
	}
}

// write appends events with the numbers from..to-1 and returns the offsets
// behind them, all durable.
func write(t *testing.T, l *Log, from, to int) []Offset {
	t.Helper()
	var ends []Offset
	for i := from; i < to; i++ {
		end, err := l.Append(sample(i))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	if err := l.Commit(t.Context(), ends[len(ends)-1]); err != nil {
		t.Fatal(err)
	}
	return ends
}

func readAll(t *testing.T, l *Log, from Offset) []string {
	t.Helper()
	var ids []string
	for {
		events, next, err := l.Read(nil, from, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			ids = append(ids, e.ID)
		}
		if len(events) == 0 && next == from {
			return ids
		}
		from = next
	}
}

func wantIDs(t *testing.T, got []string, numbers ...int) {
	t.Helper()
	var want []string
	for _, n := range numbers {
		want = append(want, fmt.Sprintf("id-%d", n))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("got %v\nwant %v", got, want)
	}
}

func count(from, to int) []int {
	var list []int
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}

func TestLogKeepsWhatWasCommittedOverReopening(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{SegmentSize: 4096})
	write(t, l, 0, 100) // in one batch or, on a busy machine, in several
	for i := 100; i < 200; i += 10 {
		write(t, l, i, i+10)
	}
	if n := l.Stats().Files; n < 3 {
		t.Fatalf("%d files, expected rotation", n)
	}
	wantIDs(t, readAll(t, l, 0), count(0, 200)...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, dir, Config{SegmentSize: 4096})
	wantIDs(t, readAll(t, again, 0), count(0, 200)...)
	write(t, again, 200, 210)
	wantIDs(t, readAll(t, again, 0), count(0, 210)...)
}

func TestLogReadsFromEveryRecordOn(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Config{SegmentSize: 4096})
	ends := write(t, l, 0, 60)
	for i, end := range ends {
		wantIDs(t, readAll(t, l, end), count(i+1, 60)...)
	}
}

func TestEventsThatNobodyWaitsForBecomeDurable(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Config{})
	if _, err := l.Append(sample(1)); err != nil {
		t.Fatal(err)
	}
	if err := l.Wait(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, readAll(t, l, 0), 1)
}

func TestCloseWritesWhatWaits(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{FsyncInterval: time.Second})
	for i := range 20 {
		if _, err := l.Append(sample(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(sample(1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	if err := l.Wait(t.Context(), 1<<40); !errors.Is(err, ErrClosed) {
		t.Fatalf("wait after close: %v", err)
	}
	wantIDs(t, readAll(t, mustOpen(t, dir, Config{}), 0), count(0, 20)...)
}

func TestTornTailIsCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{})
	ends := write(t, l, 0, 5)
	l.Close()
	whole, err := os.ReadFile(segmentPath(dir, 0))
	if err != nil {
		t.Fatal(err)
	}
	last := int(ends[3])
	for _, fill := range []byte{0, 0xFF, '{'} { // what a file system may leave behind the torn place
		for cut := last; cut < len(whole); cut++ {
			dir := t.TempDir()
			torn := append(bytes.Clone(whole[:cut]), bytes.Repeat([]byte{fill}, (len(whole)-cut)*int(fill&1))...)
			if fill == 0 {
				torn = append(torn, make([]byte, 13)...)
			}
			if err := os.WriteFile(segmentPath(dir, 0), torn, 0o600); err != nil {
				t.Fatal(err)
			}
			l := mustOpen(t, dir, Config{})
			wantIDs(t, readAll(t, l, 0), 0, 1, 2, 3)
			if got := l.Stats().Durable; got != ends[3] {
				t.Fatalf("cut at %d: the log ends at %d, want %d", cut, got, ends[3])
			}
			if sides, _ := filepath.Glob(filepath.Join(dir, "*.torn-*")); len(torn) > last {
				if len(sides) != 1 {
					t.Fatalf("cut at %d: side files %v", cut, sides)
				}
				if side, _ := os.ReadFile(sides[0]); !bytes.Equal(side, torn[last:]) {
					t.Fatalf("cut at %d: the side file does not hold what was cut", cut)
				}
			}
			write(t, l, 9, 10)
			wantIDs(t, readAll(t, l, 0), 0, 1, 2, 3, 9)
			l.Close()
		}
	}
}

func TestDamageInTheMiddleLosesOnlyTheDamagedRecord(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{})
	ends := write(t, l, 0, 5)
	l.Close()
	path := segmentPath(dir, 0)
	whole, _ := os.ReadFile(path)
	for at := int(ends[1]); at < int(ends[2]); at++ {
		broken := bytes.Clone(whole)
		broken[at] ^= 0x41
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		l := mustOpen(t, dir, Config{})
		wantIDs(t, readAll(t, l, 0), 0, 1, 3, 4)
		wantIDs(t, readAll(t, l, 0), 0, 1, 3, 4)
		if n := l.Stats().Damaged; n != 1 {
			t.Fatalf("damage at byte %d was counted %d times", at, n)
		}
		l.Close()
	}
}

func TestDamagedEndOfAClosedFileIsSkipped(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{SegmentSize: 4096})
	ends := write(t, l, 0, 60)
	write(t, l, 60, 70)
	l.Close()
	if err := os.Truncate(segmentPath(dir, 0), int64(ends[50])+11); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, Config{SegmentSize: 4096})
	wantIDs(t, readAll(t, l, 0), append(count(0, 51), count(60, 70)...)...)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, filepath.Join(dir, "events"), Config{})
	_, err := OpenLog(filepath.Join(dir, "events"), Config{}, fixedNow, quiet)
	if err == nil || !strings.Contains(err.Error(), "another sedge is using "+dir) {
		t.Fatalf("got %v", err)
	}
}

// A node that was killed may take a moment to be gone; the next one waits for it.
func TestLockIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir, Config{})
	time.AfterFunc(3*lockPause, func() { first.Close() })
	second, err := OpenLog(dir, Config{}, fixedNow, quiet)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

// badDisk fails as told.
type badDisk struct {
	segmentFile
	faults *diskFaults
}

type diskFaults struct {
	mu        sync.Mutex
	room      int // bytes that can still be written
	failSync  bool
	failBegin bool
	attempts  chan struct{} // an attempt failed
}

var errFull = errors.New("no space left on device")

func (f *diskFaults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *diskFaults) failed() {
	select {
	case f.attempts <- struct{}{}:
	default:
	}
}

func (d badDisk) WriteAt(p []byte, at int64) (int, error) {
	d.faults.mu.Lock()
	defer d.faults.mu.Unlock()
	if len(p) > d.faults.room {
		n, _ := d.segmentFile.WriteAt(p[:d.faults.room], at)
		d.faults.room -= n
		d.faults.failed()
		return n, errFull
	}
	d.faults.room -= len(p)
	return d.segmentFile.WriteAt(p, at)
}

func (d badDisk) Sync() error {
	d.faults.mu.Lock()
	defer d.faults.mu.Unlock()
	if d.faults.failSync {
		d.faults.failed()
		return errors.New("input/output error")
	}
	return d.segmentFile.Sync()
}

func openBad(t *testing.T, dir string, cfg Config) (*Log, *diskFaults) {
	faults := &diskFaults{room: 1 << 30, attempts: make(chan struct{}, 1)}
	l, err := openLog(dir, cfg, fixedNow, quiet, func(path string) (segmentFile, error) {
		faults.mu.Lock()
		defer faults.mu.Unlock()
		if faults.failBegin {
			faults.failed()
			return nil, errFull
		}
		f, err := openSegment(path)
		return badDisk{f, faults}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, faults
}

func TestLogOutlivesADiskThatFails(t *testing.T) {
	breaks := map[string]func(f *diskFaults){
		"full at once":          func(f *diskFaults) { f.room = 0 },
		"full in mid-record":    func(f *diskFaults) { f.room = 77 },
		"fsync fails":           func(f *diskFaults) { f.failSync = true },
		"no new file":           func(f *diskFaults) { f.failBegin = true },
		"full and fsync fails ": func(f *diskFaults) { f.room, f.failSync = 40, true },
	}
	for name, fail := range breaks {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, faults := openBad(t, dir, Config{SegmentSize: 4096})
			write(t, l, 0, 50)
			faults.set(func() { fail(faults) })
			end, err := l.Append(sample(50))
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Commit(t.Context(), end); err == nil {
				t.Fatal("an event was acknowledged that is not on disk")
			}
			if l.Failure() == nil {
				t.Fatal("the log does not tell that it fails")
			}
			<-faults.attempts
			for i := 51; i < 60; i++ {
				if end, err = l.Append(sample(i)); err != nil {
					t.Fatal(err)
				}
			}
			wantIDs(t, readAll(t, l, 0), count(0, 50)...)
			faults.set(func() { faults.room, faults.failSync, faults.failBegin = 1<<30, false, false })
			if err := l.Wait(t.Context(), end-1); err != nil {
				t.Fatal(err)
			}
			if err := l.Commit(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			write(t, l, 60, 70)
			wantIDs(t, readAll(t, l, 0), count(0, 70)...)
			l.Close()
			again := mustOpen(t, dir, Config{})
			wantIDs(t, readAll(t, again, 0), count(0, 70)...)
			if sides, _ := filepath.Glob(filepath.Join(dir, "*.torn-*")); len(sides) > 0 {
				t.Fatalf("torn bytes were left: %v", sides)
			}
		})
	}
}

func TestCloseTellsWhatIsLost(t *testing.T) {
	dir := t.TempDir()
	l, faults := openBad(t, dir, Config{})
	ends := write(t, l, 0, 3)
	faults.set(func() { faults.room = 20 })
	if _, err := l.Append(sample(3)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, errFull) {
		t.Fatalf("got %v", err)
	}
	if info, err := os.Stat(segmentPath(dir, 0)); err != nil || info.Size() != int64(ends[2]) {
		t.Fatalf("part of a record was left: %d bytes, want %d, %v", info.Size(), ends[2], err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	l, faults := openBad(t, t.TempDir(), Config{QueueSize: 1 << 20})
	faults.set(func() { faults.failSync = true })
	n := 0
	for ; ; n++ {
		_, err := l.Append(sample(49))
		if err != nil {
			if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			break
		}
	}
	if s := l.Stats(); s.Queued > 1<<20 || s.Queued < 1<<19 {
		t.Fatalf("%d bytes queued after %d events", s.Queued, n)
	}
	faults.set(func() { faults.failSync = false })
}

func TestRetentionDropsOnlyWhatEveryConsumerHasRead(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{SegmentSize: 4096, MaxSize: 8192})
	for i := 0; i < 300; i += 10 {
		write(t, l, i, i+10)
	}
	files := l.Stats().Files
	if l.Retain(); l.Stats().Files != files {
		t.Fatal("a log without consumers dropped files")
	}
	slow, quick := l.Register("slow", 0), l.Register("quick", 0)
	quick.Advance(l.Stats().Durable)
	if l.Retain(); l.Stats().Files != files {
		t.Fatal("files were dropped that a consumer has not read")
	}
	events, next, err := l.Read(nil, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	slow.Advance(next)
	l.Retain()
	if got := l.Stats(); got.First > next || got.First == 0 {
		t.Fatalf("the log begins at %d, the slow consumer is at %d", got.First, next)
	}
	wantIDs(t, readAll(t, l, next), count(len(events), 300)...)
	slow.Close()
	l.Retain()
	if got := l.Stats(); got.Bytes > 8192+4096 {
		t.Fatalf("%d bytes are kept", got.Bytes)
	}
	left := readAll(t, l, 0)
	wantIDs(t, left, count(300-len(left), 300)...)
}

func TestRetentionByAge(t *testing.T) {
	now := start
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	l, err := OpenLog(t.TempDir(), Config{SegmentSize: 4096, Retention: 24 * time.Hour}, clock, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Register("reader", 1<<40)
	for day := range 5 {
		mu.Lock()
		now = start.Add(time.Duration(day) * 24 * time.Hour)
		mu.Unlock()
		write(t, l, day*100, day*100+100)
	}
	l.Retain()
	wantIDs(t, readAll(t, l, 0), count(300, 500)...)
}

func TestRetentionDropsTornCopiesWithTheirFile(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{})
	write(t, l, 0, 50)
	l.Close()
	file, err := os.OpenFile(segmentPath(dir, 0), os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("half a rec"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	now := start
	l, err = OpenLog(dir, Config{SegmentSize: 4096, Retention: 24 * time.Hour}, func() time.Time { return now }, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if sides, _ := filepath.Glob(filepath.Join(dir, "*.torn-*")); len(sides) != 1 {
		t.Fatalf("side files %v", sides)
	}
	l.Register("reader", 1<<40)
	l.Close()
	now = time.Now().Add(48 * time.Hour) // the file's own time is the disk's
	if l, err = OpenLog(dir, Config{SegmentSize: 4096, Retention: 24 * time.Hour}, func() time.Time { return now }, quiet); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Register("reader", 1<<40)
	write(t, l, 50, 60)
	l.Retain()
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix+"*")); len(left) != 1 {
		t.Fatalf("left: %v", left)
	}
}

// syncCounter counts what was made durable.
type syncCounter struct {
	segmentFile
	count *int
}

func (c syncCounter) Sync() error { *c.count++; return c.segmentFile.Sync() }

// A process that was killed between write and fsync leaves records that a power
// cut would still take. Whoever opens the log calls them durable, so it must make
// them so.
func TestWhatAKilledProcessLeftIsMadeDurable(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{})
	write(t, l, 0, 5)
	l.Close()
	syncs := 0
	l, err := openLog(dir, Config{}, fixedNow, quiet, func(path string) (segmentFile, error) {
		f, err := openSegment(path)
		return syncCounter{f, &syncs}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if syncs == 0 {
		t.Fatal("records that were found count as durable without a sync")
	}
}

func TestAdvanceGoesOnBeyondALostEnd(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Config{})
	write(t, l, 0, 3)
	if err := l.Advance(10_000); err != nil {
		t.Fatal(err)
	}
	write(t, l, 3, 5)
	wantIDs(t, readAll(t, l, 10_000), 3, 4)
	wantIDs(t, readAll(t, l, 0), 0, 1, 2, 3, 4)
	l.Close()
	wantIDs(t, readAll(t, mustOpen(t, dir, Config{}), 10_000), 3, 4)
}

func TestConcurrentWritersAndReaders(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Config{SegmentSize: 16 << 10})
	const writers, each = 8, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				end, err := l.Append(sample(w*each + i))
				if err == nil {
					err = l.Commit(context.Background(), end)
				}
				if err != nil {
					t.Error(err)
				}
				if events, _, err := l.Read(nil, 0, 5); err != nil || len(events) == 0 {
					t.Errorf("read %d events: %v", len(events), err)
				}
			}
		}()
	}
	wg.Wait()
	seen := make(map[string]int)
	for _, id := range readAll(t, l, 0) {
		seen[id]++
	}
	for i := range writers * each {
		if seen[fmt.Sprintf("id-%d", i)] != 1 {
			t.Fatalf("event %d is %d times in the log", i, seen[fmt.Sprintf("id-%d", i)])
		}
	}
}

func TestPeekID(t *testing.T) {
	for _, tc := range []struct{ payload, want string }{
		{`{"id":"a","type":"page"}`, "a"},
		{`{"id":"a\"b","type":"page"}`, `a"b`},
		{`{"id":"a","observed":true,"type":"page"}`, ""},
		{`{"id":"a\u003c","observed":true,"type":"page"}`, ""},
		{`{"type":"page"}`, ""},
		{`{"id":"a`, ""},
		{payloadOf(t, &Event{ID: "a", Type: Track, Visitor: "v"}), "a"},
		{payloadOf(t, &Event{ID: "a", Type: Track, Visitor: "v", Observed: true}), ""},
		{payloadOf(t, &Event{ID: "a", Type: Track, Visitor: "v"})[:5], ""},
		{"", ""},
	} {
		if got := PeekID([]byte(tc.payload)); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.payload, got, tc.want)
		}
	}
}

func FuzzRecordReading(f *testing.F) {
	var b Batch
	for i := range 3 {
		if err := b.Add(sample(i)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.bytes, []byte{})
	f.Add(b.bytes[:len(b.bytes)-3], b.bytes[5:])
	f.Add([]byte{}, []byte("{}"))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		record := append(make([]byte, headerSize), `{"id":"probe"}`...)
		seal(record)
		data := append(append(bytes.Clone(before), record...), after...)
		r := recordReader{file: bytes.NewReader(data), limit: int64(len(data))}
		pos, found := int64(0), false
		for {
			payload, at, err := r.next(pos)
			if errors.Is(err, errNoRecord) {
				break
			}
			if err != nil || at < pos {
				t.Fatalf("at %d from %d: %v", at, pos, err)
			}
			found = found || at == int64(len(before)) && string(payload) == `{"id":"probe"}`
			pos = at + headerSize + int64(len(payload))
		}
		if !found && !slices.ContainsFunc(before, isForm) {
			t.Fatal("a valid record was not found")
		}
	})
}

var _ io.ReaderAt = badDisk{}
