package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sedge-proxy/sedge/plugins"
)

func TestMain(m *testing.M) { Main(m, &faulty{}) }

// faulty breaks every rule that the kit checks.
type faulty struct{ calls atomic.Int64 }

func (*faulty) Describe() plugins.Description {
	return plugins.Description{Name: "faulty", Version: "1", Schema: json.RawMessage("{")}
}

func (f *faulty) Configure(_ context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	if string(raw) == "{" {
		panic("settings")
	}
	return &plugins.Instance{
		Scope: plugins.Scope{Segment: true},
		Plan: func(_ context.Context, r *plugins.Request) (*plugins.Answer, error) {
			text := fmt.Sprint(f.calls.Add(1))
			if strings.Contains(string(raw), "steady") {
				text = r.Segment + r.VisitorID // which is not in the scope
			}
			return &plugins.Answer{
				Edits: []plugins.Edit{{Select: "h1", Op: "set_inner", Text: text}, {Select: "h1", Op: "append", Text: `{{offer "code"}}{{offer "price" "ask us"}}{{offer "title"}}`}},
				Offer: map[string]string{"title": ""},
			}, nil
		},
	}, nil
}

// TestFaulty fails; it is run by TestKitFindsFaults alone.
func TestFaulty(t *testing.T) {
	if os.Getenv("PLUGINTEST_FAULTY") == "" {
		return
	}
	Run(t, &faulty{}, Suite{
		Samples: []Sample{
			{Name: "counting", Settings: `{}`, Requests: []plugins.Request{{}}},
			{Name: "nosy", Settings: `{"steady": 1}`, Requests: []plugins.Request{{Segment: "vip", VisitorID: "v"}}, Want: [][]plugins.Edit{{}}},
		},
		Bad:   []Bad{{Settings: `{"x": 1}`, Path: "x"}},
		Check: func(plugins.Edit) error { return errors.New("no such element") },
	})
}

func TestKitFindsFaults(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestFaulty$")
	cmd.Env = append(os.Environ(), "PLUGINTEST_FAULTY=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("the kit found nothing")
	}
	for _, want := range []string{
		"the schema is not valid JSON", "differs from the answer to the same request again", "is the scope complete?",
		"Configure accepted the bad settings", "Configure accepted the settings []", "Configure panics over the settings {",
		"cannot run: no such element", "got the edits", `edits[1] has the slot {{offer "code"}}`,
		"TestFaulty/direct", "TestFaulty/wire", "TestFaulty/process",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the kit does not say %q", want)
		}
	}
	for _, filled := range []string{`slot {{offer "price"}}`, `slot {{offer "title"}}`} {
		if strings.Contains(string(out), filled) {
			t.Errorf("the kit complains of %s", filled)
		}
	}
	if t.Failed() {
		t.Logf("%.6000s", out)
	}
}
