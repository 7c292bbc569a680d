package event

import (
	"errors"
	"strings"
	"testing"
)

// What stands once in the context of a batch completes every item. A small call
// must not become a large amount of events that way.
func TestContextOfABatchDoesNotMultiply(t *testing.T) {
	large := `"` + strings.Repeat("x", 8000) + `"`
	context := func(texts int) string {
		names := make([]string, texts)
		for i := range names {
			names[i] = `"t` + strings.Repeat("i", i) + `":` + large
		}
		return `{"traits":{` + strings.Join(names, ",") + `}}`
	}
	items := func(n int) string { return strings.TrimSuffix(strings.Repeat(`{"type":"identify"},`, n), ",") }
	size := func(events []Event) (bytes int) {
		for i := range events {
			var b Batch
			if err := b.Add(&events[i]); err != nil {
				t.Fatal(err)
			}
			bytes += len(b.record(0))
		}
		return bytes
	}

	decoded, err := DecodeAll("batch", []byte(`{"context":`+context(2)+`,"batch":[`+items(2000)+`]}`), received, zeros())
	if err != nil {
		t.Fatal(err)
	}
	if n := size(decoded.Events); n > maxRepeated+MaxBatch || len(decoded.Events) < 200 {
		t.Errorf("%d events of %d bytes of a call of 56 KB", len(decoded.Events), n)
	}
	if len(decoded.Events)+len(decoded.Refused) != 2000 {
		t.Errorf("%d events and %d refused", len(decoded.Events), len(decoded.Refused))
	}

	_, err = Decode("batch", []byte(`{"context":`+context(50)+`,"batch":[`+items(2000)+`]}`), received, zeros())
	var wrong *DecodeError
	if !errors.As(err, &wrong) || !strings.Contains(wrong.Message, "context") {
		t.Errorf("a context of 400 KB: %v", err)
	}
}
