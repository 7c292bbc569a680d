package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const site = `server:
  listen: ":8080"
upstreams:
  - {name: site, url: "http://127.0.0.1:3000"}
routes:
  - {name: everything, upstream: site}
`

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

// TestParseSaysAllAtOnce: what is wrong with the writing does not hide what is wrong
// with the meaning, and what could be read comes along.
func TestParseSaysAllAtOnce(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		cfg, err := Parse("f.yaml", []byte(site+text), Options{Builtins: []string{"content"}})
		if diff := cmp.Diff(want, lines(err)); diff != "" {
			t.Errorf("%s(-want +got):\n%s", text, diff)
		}
		if cfg == nil || cfg.Server.Listen != ":8080" {
			t.Errorf("%s: what could be read is missing: %+v", text, cfg)
		}
	}
	f("goals:\n  - name: a\n    name: b\n    url: x\n",
		`f.yaml:9:5: goals[0].name: "name" stands here and on line 8; keep one of them`,
		`f.yaml:10:10: goals[0].url: expected a path that starts with "/", got "x"`)
	f("goals:\n  - &g {name: a, url: x}\n  - <<: *g\n",
		`f.yaml:8:23: goals[0].url: expected a path that starts with "/", got "x"`,
		`f.yaml:9:5: goals[1]: merge keys (<<) are not supported; repeat the values`)
	f("? [a]\n: b\nvisitr: {}\n",
		`f.yaml:7:3: found a key that is not a plain word`,
		`f.yaml:9:1: visitr: unknown setting "visitr"; did you mean "visitor"?`)
	f("experiments:\n  - name: x\n    arms: [{name: a, weight: .NaN}, {name: b, weight: -.Inf}]\n",
		`f.yaml:9:30: experiments[0].arms[0].weight: found the number .NaN; expected a number`,
		`f.yaml:9:55: experiments[0].arms[1].weight: found the number -.Inf; expected a number`)
}

// TestEnvironmentAndFlags: flags come before the environment, that before the file;
// each wrong value is said with where it came from.
func TestEnvironmentAndFlags(t *testing.T) {
	t.Setenv("SEDGE_SERVER_LISTEN", ":81")
	t.Setenv("SEDGE_SERVER_DATA_DIR", "")
	t.Setenv("SEDGE_SERVER_PERSONALIZE_BUDGET", "80ms")
	t.Setenv("SEDGE_CACHE_DISABLED", "true")
	cfg, err := Parse("f.yaml", []byte(site), Options{Overrides: map[string]string{"server.listen": ":82"}})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Server.Listen != ":82" || cfg.Server.DataDir != defaultDataDir || cfg.Server.PersonalizeBudget != 80*time.Millisecond || !cfg.Cache.Disabled {
		t.Errorf("got %+v, %+v", cfg.Server, cfg.Cache)
	}

	t.Setenv("SEDGE_CACHE_DISABLED", "maybe")
	t.Setenv("SEDGE_SERVER_PERSONALIZE_BUDGET", "-5s")
	t.Setenv("SEDGE_SERVER_MAX_CONNECTIONS", "many")
	_, err = Parse("f.yaml", []byte(site), Options{Overrides: map[string]string{"server.listen": "nowhere"}})
	want := []string{
		`f.yaml:1:1: cache.disabled: found "maybe"; expected true or false (set by SEDGE_CACHE_DISABLED, not by the file)`,
		`f.yaml:2:3: server.max_connections: found "many"; expected a whole number (set by SEDGE_SERVER_MAX_CONNECTIONS, not by the file)`,
		`f.yaml:2:3: server.personalize_budget: found "-5s"; expected a duration such as "500ms", "10s" or "2h" (set by SEDGE_SERVER_PERSONALIZE_BUDGET, not by the file)`,
		`f.yaml:2:11: server.listen: "nowhere": expected host:port or :port, with a port up to 65535 (set by a flag, not by the file)`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestUnreadableStillHasItsOverlay: a node is found by what flags and environment say
// though its file is no YAML any more.
func TestUnreadableStillHasItsOverlay(t *testing.T) {
	t.Setenv("SEDGE_ADMIN_LISTEN", "127.0.0.1:9")
	cfg, err := Parse("f.yaml", []byte("a: [\n"), Options{})
	if err == nil || cfg == nil || cfg.Admin.Listen != "127.0.0.1:9" {
		t.Errorf("got %+v, %v", cfg, err)
	}
}
