package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sedge-proxy/sedge/internal/corpus"
)

var received = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func zeros() *bytes.Reader { return bytes.NewReader(make([]byte, 1<<20)) }

func TestDecode(t *testing.T) {
	generated := "sedge-00000000000000000000000000000000"
	for _, tc := range []struct {
		name, kind, body string
		want             Event
	}{
		{
			"track", "track", `{"messageId":"m1","event":" Signed Up ","properties":{"plan":"pro","n":2},"userId":null}`,
			Event{ID: "m1", Type: Track, Name: "Signed Up", Time: received, Properties: map[string]any{"plan": "pro", "n": 2.0}},
		},
		{
			"short name, no id", "t", `{"event":"E"}`,
			Event{ID: generated, Type: Track, Name: "E", Time: received},
		},
		{
			"id that is a number", "t", `{"event":"E","messageId":17}`,
			Event{ID: "17", Type: Track, Name: "E", Time: received},
		},
		{
			"page by its properties", "page",
			`{"messageId":"m","name":"Shop","properties":{"url":"https://x.example/a%20b?q=1","path":"/a%20b","search":"?q=2"},"context":{"page":{"path":"/other"}}}`,
			Event{
				ID: "m", Type: Page, Name: "Shop", Time: received, Path: "/a b", Query: "q=2",
				Properties: map[string]any{"url": "https://x.example/a%20b?q=1", "path": "/a%20b", "search": "?q=2"},
			},
		},
		{
			"page by its context", "p", `{"messageId":"m","context":{"page":{"url":"https://x.example/thanks?order=7"}}}`,
			Event{ID: "m", Type: Page, Time: received, Path: "/thanks", Query: "order=7"},
		},
		{
			"screen", "s", `{"messageId":"m","name":"Home"}`,
			Event{ID: "m", Type: Track, Name: "Viewed Home Screen", Time: received},
		},
		{
			"identify", "i", `{"messageId":"m","traits":{"plan":"pro"}}`,
			Event{ID: "m", Type: Identify, Time: received, Traits: map[string]any{"plan": "pro"}},
		},
		{
			"identify by context", "i", `{"messageId":"m","context":{"traits":{"plan":"pro"}}}`,
			Event{ID: "m", Type: Identify, Time: received, Traits: map[string]any{"plan": "pro"}},
		},
		{
			"clock an hour ahead", "t", `{"messageId":"m","event":"E","timestamp":"2026-11-22T12:59:50Z","sentAt":"2026-11-22T13:00:00.000Z"}`,
			Event{ID: "m", Type: Track, Name: "E", Time: received.Add(-10 * time.Second)},
		},
		{
			"original timestamp counts", "t", `{"messageId":"m","event":"E","timestamp":"2001-01-01T00:00:00Z","originalTimestamp":"2026-11-22T12:59:50Z","sentAt":"2026-11-22T13:00:00.000Z"}`,
			Event{ID: "m", Type: Track, Name: "E", Time: received.Add(-10 * time.Second)},
		},
		{
			"import with a time of its own", "t", `{"messageId":"m","event":"E","timestamp":"2020-02-03T04:05:06+01:00"}`,
			Event{ID: "m", Type: Track, Name: "E", Time: time.Date(2020, 2, 3, 3, 5, 6, 0, time.UTC)},
		},
		{
			"future is bounded", "t", `{"messageId":"m","event":"E","timestamp":"2030-02-03T04:05:06Z"}`,
			Event{ID: "m", Type: Track, Name: "E", Time: received.Add(5 * time.Minute)},
		},
		{
			"milliseconds", "t", `{"messageId":"m","event":"E","timestamp":1795348790000,"sentAt":1795348800000}`,
			Event{ID: "m", Type: Track, Name: "E", Time: received.Add(-10 * time.Second)},
		},
		{
			"time that is none", "t", `{"messageId":"m","event":"E","timestamp":"yesterday"}`,
			Event{ID: "m", Type: Track, Name: "E", Time: received},
		},
		{
			"clock never set", "t", `{"messageId":"m","event":"E","timestamp":"1971-01-01T00:00:00Z"}`,
			Event{ID: "m", Type: Track, Name: "E", Time: received},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events, err := Decode(tc.kind, []byte(tc.body), received, zeros())
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Received = received
			if diff := cmp.Diff([]Event{tc.want}, events); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestDecodeMakesNoEventOf(t *testing.T) {
	for _, kind := range []string{"group", "g", "alias", "a", "m"} {
		events, err := Decode(kind, []byte(`{"groupId":"g","userId":"u","previousId":"p"}`), received, zeros())
		if err != nil || len(events) > 0 {
			t.Errorf("%s: %v, %v", kind, events, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 9) + "1" + strings.Repeat("}", 9)
	many := "[" + strings.Repeat("1,", 500) + "1]"
	for _, tc := range []struct{ kind, body, want string }{
		{"nonsense", `{}`, "unknown kind"},
		{"track", `{`, "not valid JSON"},
		{"track", ``, "not valid JSON"},
		{"track", `[]`, "expected a JSON object"},
		{"track", `"x"`, "expected a JSON object"},
		{"track", `{"event":"E"} x`, "not valid JSON"},
		{"track", `{}`, `"event" is missing`},
		{"track", `{"event":""}`, `"event" is empty`},
		{"track", `{"event":7}`, `"event" must be a text`},
		{"track", `{"event":"` + strings.Repeat("n", 201) + `"}`, "at most 200"},
		{"track", `{"event":"E","properties":[]}`, `"properties" must be an object`},
		{"track", `{"event":"E","properties":` + deep + `}`, "nested deeper than 8"},
		{"track", `{"event":"E","properties":{"a":` + many + `}}`, "more than 500 values"},
		{"track", `{"event":"E","properties":{"a":"` + strings.Repeat("t", 8193) + `"}}`, "at most 8192"},
		{"track", `{"event":"E","properties":{"` + strings.Repeat("k", 129) + `":1}}`, "at most 128"},
		{"track", `{"event":"` + strings.Repeat(" ", 33<<10) + `"}`, "at most 32768"},
		{"identify", `{"traits":"x"}`, `"traits" must be an object`},
		{"batch", `{}`, `"batch" is missing`},
		{"batch", `{"batch":{}}`, "expected a JSON object"},
		{"batch", `{"batch":[{"type":"track"}]}`, `event 0 of the batch: "event" is missing`},
		{"batch", `{"batch":[7]}`, `event 0 of the batch: expected a JSON object`},
		{"batch", `{"batch":[{"type":"batch"}]}`, `"type" must be one of`},
		{"batch", `{"batch":[` + strings.Repeat("{},", 2500) + `{}]}`, "at most 2500"},
		{"batch", strings.Repeat(" ", 501<<10), "at most 512000"},
	} {
		_, err := Decode(tc.kind, []byte(tc.body), received, zeros())
		var wrong *DecodeError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %.40s: got %v, want %q", tc.kind, tc.body, err, tc.want)
		}
	}
}

func TestBatchKeepsWhatMakesSense(t *testing.T) {
	decoded, err := DecodeAll("batch", []byte(`{"sentAt":"2026-11-22T13:00:00Z","context":{"page":{"path":"/shared"}},"batch":[
		{"type":"track","event":"A","messageId":"1","timestamp":"2026-11-22T12:59:00Z"},
		{"type":"track","messageId":"2"},
		{"type":"page","messageId":"3","context":{"page":{"path":"/own"}}},
		{"type":"group","messageId":"4"}]}`), received, zeros())
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{
		{ID: "1", Type: Track, Name: "A", Time: received.Add(-time.Minute), Received: received, Path: "/shared"},
		{ID: "3", Type: Page, Time: received, Received: received, Path: "/own"},
	}
	if diff := cmp.Diff(want, decoded.Events); diff != "" {
		t.Fatal(diff)
	}
	if len(decoded.Refused) != 1 || decoded.Refused[0].Item != 1 {
		t.Fatalf("refused: %v", decoded.Refused)
	}
}

func TestLongIDsStayApartAndStayTheSame(t *testing.T) {
	id := func(last string) string {
		events, err := Decode("t", []byte(`{"event":"E","messageId":"`+strings.Repeat("x", 200)+last+`"}`), received, zeros())
		if err != nil || len(events[0].ID) > 100 {
			t.Fatalf("%v, %v", events, err)
		}
		return events[0].ID
	}
	first, again, other := id("1"), id("1"), id("2")
	if first != again || first == other {
		t.Fatal("a long id is not replaced by its digest")
	}
}

func TestDecodeWhatRealClientsSend(t *testing.T) {
	lines := corpus.Read(t, "events", "sdk-requests.jsonl")
	var got []string
	for _, line := range bytes.Split(bytes.TrimSpace(lines), []byte("\n")) {
		var request struct{ Method, URL, Body string }
		if err := json.Unmarshal(line, &request); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(request.URL, "/v1/") && !strings.HasPrefix(request.URL, "/api/s/") || request.Method != "POST" {
			continue
		}
		decoded, err := DecodeAll(path.Base(request.URL), []byte(request.Body), received, zeros())
		if err != nil || len(decoded.Refused) > 0 {
			t.Errorf("%s: %v, %v", request.URL, err, decoded.Refused)
		}
		for _, e := range decoded.Events {
			if age := received.Sub(e.Time); age < 0 || age > time.Second {
				t.Errorf("%s: the event is %s old", request.URL, age)
			}
			got = append(got, string(e.Type)+":"+e.Name)
		}
	}
	want := "identify: track:Order Completed page:Home track:Viewed S Screen identify: track:E " +
		"identify: track:E page: page:Home identify: track:Clicked"
	if strings.Join(got, " ") != want {
		t.Fatalf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("track", `{"event":"E","properties":{"a":[1,{"b":null}]},"timestamp":"2026-11-22T12:59:50Z","sentAt":12}`)
	f.Add("batch", `{"batch":[{"type":"page","context":{"page":{"url":"/x?y"}}},{"type":"identify","traits":{"a":1}}],"sentAt":"2026-11-22T12:59:50Z"}`)
	f.Add("p", `{"properties":{"path":"%zz","search":"?a=b&c"}}`)
	f.Fuzz(func(t *testing.T, kind, body string) {
		events, err := Decode(kind, []byte(body), received, zeros())
		var wrong *DecodeError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		for i := range events {
			e := &events[i]
			if e.ID == "" || e.Time.After(received.Add(5*time.Minute)) || e.Time.Year() < 2000 || e.Path != "" && e.Path[0] != '/' {
				t.Fatalf("%+v", e)
			}
			var b Batch
			if err := b.Add(e); err != nil {
				t.Fatal(err)
			}
			var back Event
			if err := decode(b.record(0)[headerSize:], &back); err != nil {
				t.Fatal(err)
			}
			e.Query = ""
			want, _ := json.Marshal(e)
			if again, _ := json.Marshal(&back); !bytes.Equal(again, want) {
				t.Fatalf("%+v is not the same after the log", e)
			}
		}
	})
}
