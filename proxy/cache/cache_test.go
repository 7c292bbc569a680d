package cache

import (
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestRecent(t *testing.T) {
	r := NewRecent[int, string](2)
	r.Put(1, "one")
	r.Put(2, "two")
	r.Get(1)
	r.Put(3, "three")
	if _, ok := r.Get(2); ok || r.Len() != 2 {
		t.Error("the one not used for longest stayed")
	}
	r.Put(1, "uno")
	if got, _ := r.Get(1); got != "uno" {
		t.Errorf("got %q", got)
	}
}

func TestConfigFaults(t *testing.T) {
	c := Config{VariantMemory: 10, MaxObject: -1}
	if faults := c.Validate(); len(faults) != 2 {
		t.Errorf("%v", faults)
	}
	c = Config{ObjectMemory: 16 << 20, MaxObject: 5 << 20}
	if faults := c.Validate(); len(faults) != 1 || faults[0].Path != "max_object" {
		t.Errorf("%v", faults)
	}
	c = Config{}
	if faults := c.Validate(); len(faults) != 0 {
		t.Errorf("%v", faults)
	}
}
