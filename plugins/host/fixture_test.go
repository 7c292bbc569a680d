package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sedge-proxy/sedge/plugins"
	"github.com/sedge-proxy/sedge/plugins/sdk"
)

// TestMain lets the test binary be the plugin: its first argument says of what kind.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "plugin" {
		actAsPlugin(os.Args[2])
		return
	}
	goleak.VerifyTestMain(patient{m})
}

// deaf counts the calls under way that do not heed their deadline.
var deaf sync.WaitGroup

// patient lets them end, which is no leak.
type patient struct{ *testing.M }

func (p patient) Run() int {
	code := p.M.Run()
	deaf.Wait()
	return code
}

func actAsPlugin(kind string) {
	switch kind {
	case "serve":
		sdk.Serve(fixture{})
	case "noisy":
		fmt.Fprintln(os.Stderr, `{"@message": 5, "@level": {}, "@timestamp": []}`)
		fmt.Fprintln(os.Stderr, strings.Repeat("x", 200_000))
		sdk.Serve(fixture{})
	case "dies":
		fmt.Fprintln(os.Stderr, "cannot open the price list")
		os.Exit(3)
	case "says-hello":
		fmt.Println("Hello, world!")
		select {}
	case "endless-line":
		for {
			fmt.Print(strings.Repeat("y", 4096))
		}
	case "silent":
		select {}
	case "short-cert":
		fmt.Println("1|1|unix|/nowhere|grpc|" + strings.Repeat("A", 80))
		select {}
	case "far-away":
		fmt.Println("1|1|tcp|192.0.2.1:80|grpc")
		select {}
	case "other-version":
		fmt.Println("1|99|unix|/nowhere|grpc")
		select {}
	case "nested-host": // a host of its own, to be killed
		nestedHost()
	default:
		panic("BUG: unknown kind " + kind)
	}
}

// nestedHost runs a plugin, prints its process id and waits.
func nestedHost() {
	h := New(Options{SocketDir: os.Args[3]})
	cfg := Config{Name: "inner", Command: selfCommand("serve")}
	if err := h.Reconcile(context.Background(), []Config{cfg}); err != nil {
		panic(err)
	}
	fmt.Println(h.Status()[0].PID)
	select {}
}

func selfCommand(kind string) []string {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return []string{self, "plugin", kind}
}

// fixture is a plugin that behaves as its settings say.
type fixture struct{}

type fixtureSettings struct {
	Text string `json:"text"`
	Do   string `json:"do"`
}

func (fixture) Describe() plugins.Description {
	return plugins.Description{Name: "fixture", Version: "1.2.3", Summary: "for tests"}
}

func (fixture) Configure(ctx context.Context, raw json.RawMessage) (*plugins.Instance, error) {
	var s fixtureSettings
	if err := plugins.DecodeSettings(raw, &s); err != nil {
		return nil, err
	}
	switch s.Do {
	case "refuse":
		return nil, errors.Join(
			&plugins.SettingError{Path: "a[0].b", Message: "first"},
			fmt.Errorf("wrapped: %w", &plugins.SettingError{Path: "c", Message: "second"}),
			errors.New("and the moon is wrong"))
	case "panic-configure":
		panic("configure went wrong")
	case "hang-configure":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &plugins.Instance{
		Scope: plugins.Scope{Segment: true, Attributes: []string{"language"}},
		Plan:  s.plan,
	}, nil
}

func (s fixtureSettings) plan(ctx context.Context, r *plugins.Request) (*plugins.Answer, error) {
	switch s.Do {
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "deaf": // does not heed its deadline
		deaf.Add(1)
		defer deaf.Done()
		time.Sleep(2 * time.Second)
	case "panic":
		panic("plan went wrong")
	case "error":
		return nil, errors.New("no stock today")
	case "many":
		return &plugins.Answer{Edits: make([]plugins.Edit, 501)}, nil
	case "huge":
		return &plugins.Answer{Edits: []plugins.Edit{{Text: strings.Repeat("x", 1<<20+1)}}}, nil
	case "not-utf8":
		return &plugins.Answer{Edits: []plugins.Edit{{Text: "\xff"}}}, nil
	case "negative":
		return &plugins.Answer{TTL: -time.Second}, nil
	case "nothing":
		return nil, nil
	case "loud":
		fmt.Println("this goes to standard output")
		fmt.Fprintln(os.Stderr, "and this to standard error")
	case "environment":
		return &plugins.Answer{Edits: []plugins.Edit{{Text: strings.Join(os.Environ(), "\n")}}}, nil
	case "all":
		return &plugins.Answer{
			Edits:  []plugins.Edit{{Select: "a", Op: "set_attribute", Name: "n", Value: "v"}, {Select: "b", Op: "append", HTML: "<i>"}},
			Action: plugins.Action{Redirect: "/x", Status: 303, Headers: [][2]string{{"A", "b"}}},
			TTL:    1500 * time.Microsecond,
		}, nil
	}
	text := fmt.Sprintf("%s/%s/%s/%d", s.Text, r.Segment, r.Attributes["language"], os.Getpid())
	return &plugins.Answer{Edits: []plugins.Edit{{Select: "h1", Op: "set_inner", Text: text}}, TTL: time.Minute}, nil
}
