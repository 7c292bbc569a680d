package visitor

import "testing"

const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"

func TestIsBot(t *testing.T) {
	for agent, want := range map[string]bool{
		"":    true,
		"   ": true,
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                     true,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.0.0 Safari/537.36": true,
		"Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)":                                                          true,
		"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)":                                                          true,
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)":                                                                    true,
		"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)":                                                                                   true,
		"WhatsApp/2.23.20.0": true,
		"Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5":                                        true,
		"TelegramBot (like TwitterBot)":                                                                          true,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)": true,
		"Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse": true,
		"Scrapy/2.11 (+https://scrapy.org)": true,
		"kube-probe/1.29":                   true,
		chrome:                              false,
		"curl/8.7.1":                        false,
		"Wget/1.24":                         false,
		"python-requests/2.32":              false,
		"Go-http-client/1.1":                false,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36":                                                                false,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":                                      false,
		"Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36":                                                  false,
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36":                                          false,
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                                         false,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.0 (iPhone14,5; iOS 17_5; de_AT; de; scale=3.0)": false,
	} {
		if got := IsBot([]byte(agent)); got != want {
			t.Errorf("IsBot(%q) = %v", agent, got)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		name, value string
		want        Client
	}{
		{"X-Other", "1", Client{}},
		{"User-Agent", "AhrefsBot/7.0", Client{Bot: true}},
		{"User-Agent", "", Client{Bot: true}},
		{"Sec-Purpose", "prefetch", Client{Prefetch: true}},
		{"Sec-Purpose", "prefetch;prerender", Client{Prefetch: true}},
		{"Sec-Purpose", "Prefetch;anonymous-client-ip", Client{Prefetch: true}},
		{"Purpose", "prefetch", Client{Prefetch: true}},
		{"X-Purpose", "preview", Client{Prefetch: true}},
		{"X-Moz", "prefetch", Client{Prefetch: true}},
		{"Purpose", "navigate", Client{}},
		{"Sec-GPC", "1", Client{NoProfiling: true}},
		{"Sec-GPC", " 1 ", Client{NoProfiling: true}},
		{"Sec-GPC", "0", Client{}},
		{"Sec-GPC", "10", Client{}},
	} {
		got := Classify(func(name string) []byte {
			switch name {
			case test.name:
				return []byte(test.value)
			case "User-Agent":
				return []byte(chrome)
			}
			return nil
		})
		if got != test.want {
			t.Errorf("%s: %q: %+v, want %+v", test.name, test.value, got, test.want)
		}
	}
}

func BenchmarkIsBot(b *testing.B) {
	agent := []byte(chrome)
	b.ReportAllocs()
	for b.Loop() {
		if IsBot(agent) {
			b.Fatal("taken for a bot")
		}
	}
}
