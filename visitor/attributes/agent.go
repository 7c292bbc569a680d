package attributes

import (
	"strings"

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
type agent struct {
	parsed              bool
	device, os, browser string
}

func (a *agent) parse(header []byte) {
	if a.parsed {
		return
	}
	a.parsed = true
	text := string(header[:min(len(header), MaxValue)])
	parsed := useragent.Parse(text)
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
