package upstream

import (
	"net"
	"testing"
	"time"
)

// watched notes the read deadlines that are set.
type watched struct {
	script
	set []time.Time
}

func (w *watched) SetReadDeadline(t time.Time) error {
	w.set = append(w.set, t)
	return nil
}

// A deadline is left as it is only for a read that may take nearly as long, and no less.
func TestReadDeadlineServesReadsOfItsKind(t *testing.T) {
	w := &watched{script: script{rest: make([]byte, 16), step: 1}}
	c := &StrictConn{Conn: net.Conn(w)}
	read := func(idle time.Duration, want int) {
		t.Helper()
		c.ReadIdle = idle
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if len(w.set) != want {
			t.Fatalf("deadlines were set %d times, want %d", len(w.set), want)
		}
	}
	read(time.Hour, 1)
	read(time.Hour, 1)
	read(0, 1)
	read(59*time.Minute, 2) // it would wait for too long
	read(time.Hour, 2)
	read(2*time.Hour, 3) // it would not wait for long enough
	if left := time.Until(w.set[2]); left > 2*time.Hour {
		t.Errorf("the last deadline is %v away", left)
	}
	if err := c.disarm(); err != nil {
		t.Fatal(err)
	}
	read(2*time.Hour, 4)
}
