package visitor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCookieRendering(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		tls  bool
		want string
	}{
		{Config{}, false, "sedge_vid=V; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"},
		{Config{}, true, "sedge_vid=V; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure"},
		{Config{Secure: "always", Domain: ".Example.com"}, false, "sedge_vid=V; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Domain=example.com; Secure"},
		{Config{Secure: "never", CookieName: "v", MaxAge: time.Hour}, true, "v=V; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"},
		{Config{Secure: "always", CookieName: "__Host-v"}, true, "__Host-v=V; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure"},
	} {
		if faults := test.cfg.Validate(); faults != nil {
			t.Errorf("%+v: %v", test.cfg, faults)
		}
		cookie := NewCookie(test.cfg)
		if got := string(cookie.AppendSet(nil, "V", test.tls)); got != test.want {
			t.Errorf("%+v\n got %s\nwant %s", test.cfg, got, test.want)
		}
	}
	if name := NewCookie(Config{}).Name(); name != DefaultCookieName {
		t.Error(name)
	}
}

func TestConfigFaults(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want []string
	}{
		{Config{CookieName: "a b", MaxAge: time.Second, Secure: "yes", Domain: "localhost", PreviousKeyFiles: []string{"a", ""}},
			[]string{"cookie_name", "max_age", "secure", "domain", "previous_key_files[1]"}},
		{Config{MaxAge: 401 * 24 * time.Hour, Domain: "exa mple.com"}, []string{"max_age", "domain"}},
		{Config{CookieName: "__Host-v"}, []string{"cookie_name"}},
		{Config{CookieName: "__Host-v", Secure: "always", Domain: "example.com"}, []string{"cookie_name"}},
		{Config{CookieName: "__Secure-v", Domain: "a;b.com"}, []string{"domain", "cookie_name"}},
	} {
		var got []string
		for _, f := range test.cfg.Validate() {
			got = append(got, f.Path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.cfg, diff)
		}
	}
}
