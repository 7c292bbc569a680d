package traffic

import "math/rand/v2"

// persona is who a visitor is.
type persona struct {
	agent    string
	language string
	referrer string // "" for a typed address
	query    string // of the first page: the campaign
	crawler  bool
	pages    int     // how many pages they open before they make up their mind
	appetite float64 // probability to buy after a plain visit
	loyal    bool    // comes back to buy again
	reader   bool    // signs up for the newsletter
}

// choice is one value with its weight.
type choice struct {
	weight int
	value  string
}

// pick draws one of the choices by weight.
func pick(r *rand.Rand, choices []choice) string {
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	n := r.IntN(total)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	return ""
}

// newPersona draws a visitor.
func newPersona(r *rand.Rand) persona {
	if r.IntN(50) == 0 {
		return persona{crawler: true, agent: pick(r, crawlers()), pages: 2 + r.IntN(4)}
	}
	return persona{
		agent:    pick(r, agents()),
		language: pick(r, languages()),
		referrer: pick(r, referrers()),
		query:    pick(r, campaigns()),
		pages:    1 + r.IntN(5),
		appetite: 0.10,
		loyal:    r.IntN(7) == 0,
		reader:   r.IntN(12) == 0,
	}
}

func agents() []choice {
	return []choice{
		{34, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"},
		{14, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15"},
		{8, "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"},
		{22, "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1"},
		{18, "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"},
		{4, "Mozilla/5.0 (iPad; CPU OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1"},
	}
}

func crawlers() []choice {
	return []choice{
		{3, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"},
		{1, "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"},
	}
}

func languages() []choice {
	return []choice{{50, "en-GB,en;q=0.9"}, {25, "de-AT,de;q=0.9,en;q=0.6"}, {15, "fr-FR,fr;q=0.9,en;q=0.5"}, {10, "nl-NL,nl;q=0.9,en;q=0.8"}}
}

func referrers() []choice {
	return []choice{{45, ""}, {35, "https://www.google.com/"}, {12, "https://www.instagram.com/"}, {8, "https://news.example.org/gifts-for-the-garden"}}
}

func campaigns() []choice {
	return []choice{
		{62, ""},
		{26, "utm_source=newsletter&utm_medium=email&utm_campaign=sale"},
		{7, "utm_source=instagram&utm_medium=social&utm_campaign=autumn"},
		{5, "gclid=Cj0KCQiA5aWOBhDMARIsAIXLlkd"},
	}
}
