package attributes

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/mileusna/useragent"

	"github.com/sedge-proxy/sedge/visitor"
)

// other stands for a device, system or browser that has no name here. The names
// are a closed set, so that a client cannot invent values.
const other = "other"

var systems = map[string]string{
	useragent.Windows:      "windows",
	useragent.WindowsPhone: "windows",
	useragent.Android:      "android",
	useragent.MacOS:        "macos",
	useragent.IOS:          "ios",
	useragent.Linux:        "linux",
	useragent.ChromeOS:     "chromeos",
	useragent.FreeBSD:      "freebsd",
	useragent.Harmony:      "harmony",
}

var browsers = map[string]string{
	useragent.Chrome:           "chrome",
	useragent.HeadlessChrome:   "chrome",
	useragent.Firefox:          "firefox",
	useragent.Safari:           "safari",
	useragent.Edge:             "edge",
	useragent.Opera:            "opera",
	useragent.OperaMini:        "opera",
	useragent.OperaTouch:       "opera",
	useragent.SamsungBrowser:   "samsung",
	useragent.Vivaldi:          "vivaldi",
	useragent.InternetExplorer: "ie",
	useragent.FacebookApp:      "facebook",
	useragent.InstagramApp:     "instagram",
	useragent.TiktokApp:        "tiktok",
	"Huawei Browser":           "huawei",
	"Miui Browser":             "miui",
	"Android browser":          "android",
}

// agent is what a User-Agent header says.
type agent struct{ text, device, os, browser string }

// agents remembers agents, since few of them make most of a site's requests and parsing
// one takes longer than all else. A newer one takes the place of one on the same slot.
type agents struct {
	seed  maphash.Seed
	slots [256]atomic.Pointer[agent]
}

// parse returns what the header says. One longer than MaxValue is not remembered.
func (s *agents) parse(header []byte) *agent {
	slot := &s.slots[maphash.Bytes(s.seed, header)%uint64(len(s.slots))]
	if known := slot.Load(); known != nil && known.text == string(header) {
		return known
	}
	a := parseAgent(header)
	if len(header) <= MaxValue {
		slot.Store(a)
	}
	return a
}

func parseAgent(header []byte) *agent {
	a := &agent{text: string(header[:min(len(header), MaxValue)])}
	parsed := useragent.Parse(a.text)
	a.os = orOther(systems[parsed.OS])
	a.browser = orOther(browsers[parsed.Name])
	switch {
	case visitor.IsBot(header):
		a.device = "bot"
	case parsed.Tablet || isAndroidTablet(&parsed):
		a.device = "tablet"
	case parsed.Mobile:
		a.device = "mobile"
	case parsed.Desktop:
		a.device = "desktop"
	default:
		a.device = other
	}
	return a
}

// isAndroidTablet: on Android, browsers say Mobile on phones and leave it out on
// tablets; the parser takes both for phones.
func isAndroidTablet(a *useragent.UserAgent) bool {
	return a.OS == useragent.Android && a.Name == useragent.Chrome && !strings.Contains(a.String, useragent.Mobile)
}

func orOther(name string) string {
	if name == "" {
		return other
	}
	return name
}
