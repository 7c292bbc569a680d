package traffic

import (
	"fmt"
	"io"
	"os"
	"time"
)

// NewProgress returns a function for [Options.Progress] that reports to w: on a
// terminal one line that is written over at most ten times a second, elsewhere a
// new line for every tenth of the way. now is the clock.
func NewProgress(w io.Writer, terminal bool, now func() time.Time) func(done, total int) {
	started := now()
	var shown time.Time
	tenth := 0
	return func(done, total int) {
		last := done >= total
		rate := float64(done) / max(now().Sub(started).Seconds(), 0.001)
		if terminal {
			if !last && now().Sub(shown) < 100*time.Millisecond {
				return
			}
			shown = now()
			fmt.Fprintf(w, "\r%d of %d visitors (%d %%), %.0f a second ", done, total, 100*done/max(total, 1), rate)
			if last {
				fmt.Fprintln(w)
			}
			return
		}
		if reached := 10 * done / max(total, 1); reached > tenth || last && tenth < 10 {
			tenth = reached
			fmt.Fprintf(w, "%d of %d visitors (%d %%), %.0f a second\n", done, total, 100*done/max(total, 1), rate)
		}
	}
}

// IsTerminal reports whether a file is a terminal, on which a line may be
// written over.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
