package decision

import "testing"

func TestSuggest(t *testing.T) {
	known := []string{"device", "referrer", "referrer_url", "os", "path"}
	for word, want := range map[string]string{
		"devcie": "device", "devise": "device", "referer": "referrer",
		"referrer-url": "referrer_url", "host": "", "oss": "os", "": "", "device": "",
	} {
		if got := Suggest(word, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", word, got, want)
		}
	}
}
