package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func drawText(t *rapid.T, name string) string {
	return rapid.StringN(0, 20, -1).Draw(t, name)
}

func drawMap(t *rapid.T, name string) map[string]string {
	m := rapid.MapOfN(rapid.StringN(1, 8, -1), rapid.StringN(0, 8, -1), 0, 4).Draw(t, name)
	if len(m) == 0 {
		return nil
	}
	return m
}

// TestRoundTrips sends values through the encoded messages and back.
func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &plugins.Request{
			Page:  plugins.Page{Host: drawText(t, "host"), Path: drawText(t, "path"), Query: drawText(t, "raw")},
			Query: drawMap(t, "query"), Segment: drawText(t, "segment"), Arms: drawMap(t, "arms"),
			Attributes: drawMap(t, "attributes"), VisitorID: drawText(t, "visitor"),
		}
		wired := through(t, requestToWire(7, r), new(PlanRequest))
		if diff := cmp.Diff(Repair(r), requestFromWire(wired)); diff != "" || wired.GetInstance() != 7 {
			t.Error(diff)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a := &plugins.Answer{
			TTL:   time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "ttl")) * time.Millisecond,
			Offer: drawMap(t, "offer"),
		}
		for range rapid.IntRange(0, 4).Draw(t, "edits") {
			a.Edits = append(a.Edits, plugins.Edit{
				Select: drawText(t, "select"), Op: decision.Op(drawText(t, "op")), Text: drawText(t, "text"),
				HTML: drawText(t, "html"), Name: drawText(t, "name"), Value: drawText(t, "value"),
				Pattern: drawText(t, "pattern"), Required: rapid.Bool().Draw(t, "required"),
			})
		}
		if rapid.Bool().Draw(t, "action") {
			a.Action = plugins.Action{Redirect: drawText(t, "redirect"), Status: rapid.IntRange(0, 599).Draw(t, "status"), Path: drawText(t, "target")}
			for range rapid.IntRange(0, 3).Draw(t, "headers") {
				a.Action.Headers = append(a.Action.Headers, [2]string{drawText(t, "n"), drawText(t, "v")})
			}
		}
		a.TTL = min(a.TTL, MaxTTL)
		if CheckAnswer(a) != nil {
			t.Skip("not a valid answer")
		}
		if diff := cmp.Diff(a, answerFromWire(through(t, answerToWire(a), new(PlanResponse)))); diff != "" {
			t.Error(diff)
		}
	})
}

func through[M proto.Message](t *rapid.T, in, out M) M {
	raw, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTTL(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Millisecond, time.Second + 1: time.Second + time.Millisecond, 1 << 62: MaxTTL,
	} {
		if got := ttlFromWire(ttlToWire(in)); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
	if ttlFromWire(-5) >= 0 || ttlFromWire(1<<62) != MaxTTL {
		t.Error("a wild number became a life")
	}
}

func TestConfigureErrors(t *testing.T) {
	var many []error
	for i := range 300 {
		many = append(many, &plugins.SettingError{Path: fmt.Sprint(i), Message: strings.Repeat("x", 10_000)})
	}
	out := errorsToWire(errors.Join(many...))
	if len(out) != MaxErrors || len(out[0].Message) > MaxErrorBytes+8 {
		t.Errorf("%d errors, the first of %d bytes", len(out), len(out[0].Message))
	}
	bad := errorsToWire(&plugins.SettingError{Path: "a\xff", Message: "b\xfe"})
	if !utf8.ValidString(bad[0].Path) || !utf8.ValidString(bad[0].Message) {
		t.Error("not valid UTF-8")
	}
	plain := errorsFromWire(errorsToWire(errors.New("no network")))
	if plain.Error() != "no network" || plugins.SettingErrors(plain) != nil {
		t.Errorf("got %v", plain)
	}
}

func TestChecks(t *testing.T) {
	for _, d := range []plugins.Description{{}, {Name: "Upper", Version: "1"}, {Name: "a b", Version: "1"}, {Name: "ok"}, {Name: strings.Repeat("a", 65), Version: "1"}} {
		if CheckDescription(d) == nil {
			t.Errorf("accepted %+v", d)
		}
	}
	for _, s := range []plugins.Scope{{Query: []string{""}}, {Attributes: []string{"\xff"}}, {Experiments: make([]string, 65)}, {Bodies: []decision.Body{"yaml"}}, {Bodies: make([]decision.Body, 65)}} {
		if CheckScope(s) == nil {
			t.Errorf("accepted %+v", s)
		}
	}
	many := make(map[string]string)
	for i := range MaxOffer + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for _, a := range []plugins.Answer{
		{Action: plugins.Action{Headers: make([][2]string, 33)}}, {Action: plugins.Action{Path: "\xff"}},
		{Action: plugins.Action{Headers: [][2]string{{"a", "\xff"}}}}, {Edits: make([]plugins.Edit, 501)},
		{Offer: map[string]string{"a": "\xff"}}, {Offer: map[string]string{"\xff": "a"}},
		{Offer: map[string]string{"a": strings.Repeat("x", MaxAnswerBytes)}}, {Offer: many},
	} {
		if CheckAnswer(&a) == nil {
			t.Errorf("accepted %+v", a)
		}
	}
}

// counted is a plugin that counts its open instances.
type counted struct{ open atomic.Int32 }

func (*counted) Describe() plugins.Description { return plugins.Description{Name: "c", Version: "1"} }

func (c *counted) Configure(_ context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	c.open.Add(1)
	return &plugins.Instance{
		Plan: func(ctx context.Context, _ *plugins.Request) (*plugins.Answer, error) {
			if string(raw) == `"wait"` {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		},
		Close: func() { c.open.Add(-1) },
	}, nil
}

func TestInstancesAreReleased(t *testing.T) {
	p := new(counted)
	c, stop, err := Loopback(context.Background(), p, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	i, err := c.Configure(context.Background(), json.RawMessage(`"wait"`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := i.Plan(ctx, new(plugins.Request))
		done <- err
	}()
	if _, err := c.rpc.Plan(ctx, &PlanRequest{Instance: 99}); callError(ctx, err) != ErrNoInstance {
		t.Errorf("got %v", err)
	}
	i.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrNoInstance) {
		t.Errorf("got %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); p.open.Load() != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the instance was not closed")
		}
		<-time.After(time.Millisecond)
	}
	if _, err := i.Plan(context.Background(), new(plugins.Request)); !errors.Is(err, ErrNoInstance) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Configure(context.Background(), make(json.RawMessage, MaxSettings+1)); err == nil {
		t.Error("accepted settings that are too large")
	}
}

// FuzzAnswer reads arbitrary bytes as an answer of a plugin.
func FuzzAnswer(f *testing.F) {
	seed, _ := proto.Marshal(answerToWire(&plugins.Answer{Edits: []plugins.Edit{{Select: "a", Op: "remove"}}, TTL: time.Second}))
	f.Add(seed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m PlanResponse
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		a := answerFromWire(&m)
		if CheckAnswer(a) == nil {
			answerToWire(a)
		}
	})
}
