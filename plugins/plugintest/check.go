package plugintest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/internal/wire"
	"github.com/sedge-proxy/sedge/rewrite"
)

// callTime is how long one call may take here, far longer than on a page.
const callTime = 10 * time.Second

// check runs every check at one place; p is the plugin itself, to compare with.
func check(t *testing.T, at place, p plugins.Plugin, s Suite) {
	t.Run("describe", func(t *testing.T) { checkDescription(t, at, p) })
	for _, sample := range s.Samples {
		t.Run("sample/"+sample.Name, func(t *testing.T) { checkSample(t, at, p, s, sample) })
	}
	for i, bad := range s.Bad {
		t.Run(fmt.Sprintf("bad/%d", i), func(t *testing.T) { checkBad(t, at, bad) })
	}
	t.Run("nonsense", func(t *testing.T) { checkNonsense(t, at) })
}

func checkDescription(t *testing.T, at place, p plugins.Plugin) {
	d, again := at.describe(), at.describe()
	if err := wire.CheckDescription(d); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(d, again) || !reflect.DeepEqual(d, p.Describe()) {
		t.Error("Describe does not always answer alike")
	}
	if len(d.Schema) > 0 && !json.Valid(d.Schema) {
		t.Error("the schema is not valid JSON")
	}
}

func checkSample(t *testing.T, at place, p plugins.Plugin, s Suite, sample Sample) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	i, err := at.configure(ctx, json.RawMessage(sample.Settings))
	if err != nil {
		t.Fatalf("Configure refused good settings: %v", err)
	}
	defer i.close()
	reference, err := direct(p).configure(ctx, json.RawMessage(sample.Settings))
	if err != nil {
		t.Fatalf("Configure refused good settings: %v", err)
	}
	defer reference.close()
	if !sameScope(i.scope, reference.scope) {
		t.Errorf("scope is %+v here and %+v elsewhere: it must depend on the settings only", i.scope, reference.scope)
	}
	for n := range sample.Requests {
		full := &sample.Requests[n]
		answer := checkRequest(t, i, Narrow(full, i.scope), s)
		compare(t, "the answer here", answer, "the answer of the plugin itself", ask(t, reference, Narrow(full, i.scope)))
		compare(t, "the answer", answer, "the answer to a request with more than the scope names (is the scope complete?)", ask(t, reference, full))
		if n < len(sample.Want) && !reflect.DeepEqual(none(answer.Edits), none(sample.Want[n])) {
			t.Errorf("request %d: got the edits\n%+v\nwant\n%+v", n, answer.Edits, sample.Want[n])
		}
	}
}

func none(e []plugins.Edit) []plugins.Edit {
	if len(e) == 0 {
		return nil
	}
	return e
}

// checkRequest asks alone, again, and many times at once.
func checkRequest(t *testing.T, i *instance, r *plugins.Request, s Suite) *plugins.Answer {
	t.Helper()
	answer := ask(t, i, r)
	if err := wire.CheckAnswer(answer); err != nil {
		t.Error(err)
	}
	if s.Check != nil {
		for n, e := range answer.Edits {
			if err := s.Check(e); err != nil {
				t.Errorf("edits[%d] cannot run: %v", n, err)
			}
		}
	}
	checkOffers(t, answer)
	var wait sync.WaitGroup
	answers := make([]*plugins.Answer, 16)
	for n := range answers {
		wait.Go(func() { answers[n] = ask(t, i, r) })
	}
	wait.Wait()
	for _, other := range answers {
		if !compare(t, "the answer", answer, "the answer to the same request again", other) {
			break
		}
	}
	return answer
}

// checkOffers finds slots that nothing would ever fill. What else may be wrong with an
// edit is for [Suite].Check to say.
func checkOffers(t *testing.T, answer *plugins.Answer) {
	t.Helper()
	for n, e := range answer.Edits {
		_ = rewrite.CheckSlots(e, func(s rewrite.Slot) error {
			if _, ok := answer.Offer[s.Name]; s.Kind == rewrite.SlotOffer && s.Fallback == "" && !ok {
				t.Errorf("edits[%d] has the slot {{offer %q}}: the answer's Offer does not hold that, and the slot has no fallback", n, s.Name)
			}
			return nil
		})
	}
}

func ask(t *testing.T, i *instance, r *plugins.Request) *plugins.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	answer, err := i.plan(ctx, r)
	if err != nil {
		t.Errorf("Plan: %v", err)
		return new(plugins.Answer)
	}
	return answer
}

// compare leaves the time to live out: it may run down.
func compare(t *testing.T, what string, a *plugins.Answer, than string, b *plugins.Answer) bool {
	t.Helper()
	same := reflect.DeepEqual(none(a.Edits), none(b.Edits)) && reflect.DeepEqual(a.Action, b.Action) && maps.Equal(a.Offer, b.Offer)
	if !same {
		t.Errorf("%s differs from %s:\n%+v\n%+v", what, than, a, b)
	}
	return same
}

func checkBad(t *testing.T, at place, bad Bad) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	i, err := at.configure(ctx, json.RawMessage(bad.Settings))
	if err == nil {
		i.close()
		t.Fatalf("Configure accepted the bad settings %s", bad.Settings)
	}
	var paths []string
	for _, e := range plugins.SettingErrors(err) {
		if e.Path == bad.Path {
			if e.Message == "" {
				t.Errorf("the error of %q says nothing", e.Path)
			}
			return
		}
		paths = append(paths, e.Path)
	}
	t.Errorf("Configure names the settings %q, want %q: %v", paths, bad.Path, err)
}

// checkNonsense gives settings that no plugin can want. Refusing them is all.
func checkNonsense(t *testing.T, at place) {
	for _, settings := range []string{`[]`, `"text"`, `{`, `{"no such setting": 1}`} {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		i, err := at.configure(ctx, json.RawMessage(settings))
		cancel()
		switch {
		case err == nil:
			i.close()
			t.Errorf("Configure accepted the settings %s; plugins.DecodeSettings refuses what is unknown", settings)
		case strings.Contains(err.Error(), "panic"):
			t.Errorf("Configure panics over the settings %s: %v", settings, err)
		}
	}
}

// Narrow returns the part of a request that the scope names: what a plugin gets.
func Narrow(r *plugins.Request, s plugins.Scope) *plugins.Request {
	out := new(plugins.Request)
	if s.Page || len(s.Query) > 0 {
		out.Page = plugins.Page{Host: r.Page.Host, Path: r.Page.Path}
	}
	if s.Segment {
		out.Segment = r.Segment
	}
	if s.Visitor {
		out.VisitorID = r.VisitorID
	}
	out.Query = narrow(r.Query, s.Query)
	out.Arms = narrow(r.Arms, s.Experiments)
	out.Attributes = narrow(r.Attributes, s.Attributes)
	var raw []string
	for _, name := range s.Query {
		if value := out.Query[name]; value != "" {
			raw = append(raw, url.QueryEscape(name)+"="+url.QueryEscape(value))
		}
	}
	out.Page.Query = strings.Join(raw, "&")
	return out
}

func narrow(values map[string]string, names []string) map[string]string {
	if len(names) == 0 {
		return nil
	}
	out := make(map[string]string, len(names))
	for _, name := range names {
		out[name] = values[name]
	}
	return out
}

func sameScope(a, b decision.Scope) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
