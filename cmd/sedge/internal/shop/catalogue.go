package shop

import (
	"fmt"
	"slices"
	"strings"
)

// cents is an amount of money in hundredths of a euro.
type cents int64

// Plain writes the amount for machines, as in "59.90".
func (c cents) Plain() string { return fmt.Sprintf("%d.%02d", c/100, c%100) }

// String writes the amount for people, as in "€59.90".
func (c cents) String() string { return "€" + c.Plain() }

// category is one of the four departments of the shop.
type category struct {
	Slug, Name, Line string
	Picture          string // of which product
}

// product is one article.
type product struct {
	Slug     string
	Name     string
	Category string // slug
	Price    cents
	Line     string   // one sentence for lists
	Text     string   // a paragraph for the product's page
	Details  []string // facts
	Rating   string   // as in "4.8"
	Reviews  int
	Featured bool
	Picture  string // name of a drawing
}

// catalogue is everything that is on sale. It never changes.
type catalogue struct {
	categories []category
	products   []product
	bySlug     map[string]*product
}

func newCatalogue() *catalogue {
	c := &catalogue{categories: allCategories(), products: allProducts(), bySlug: map[string]*product{}}
	for i := range c.products {
		c.bySlug[c.products[i].Slug] = &c.products[i]
	}
	return c
}

func (c *catalogue) category(slug string) category {
	for _, cat := range c.categories {
		if cat.Slug == slug {
			return cat
		}
	}
	return category{}
}

func (c *catalogue) in(category string) []product {
	return c.filter(func(p *product) bool { return p.Category == category })
}

func (c *catalogue) featured() []product {
	return c.filter(func(p *product) bool { return p.Featured })
}

// related returns four other products, those of the same category first.
func (c *catalogue) related(to product) []product {
	near := c.filter(func(p *product) bool { return p.Category == to.Category && p.Slug != to.Slug })
	return near[:min(4, len(near))]
}

// search returns the products that hold every word of q, in any letter case. No
// word finds nothing.
func (c *catalogue) search(q string) []product {
	words := strings.Fields(strings.ToLower(q))
	if len(words) == 0 {
		return nil
	}
	return c.filter(func(p *product) bool {
		text := strings.ToLower(p.Name + " " + p.Line + " " + p.Text + " " + c.category(p.Category).Name)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}

func (c *catalogue) filter(keep func(*product) bool) []product {
	var found []product
	for i := range c.products {
		if keep(&c.products[i]) {
			found = append(found, c.products[i])
		}
	}
	return found
}

func allCategories() []category {
	return []category{
		{Slug: "camp", Name: "Camp & Trail", Line: "Shelter, light and a warm meal, wherever the path ends.", Picture: "tent"},
		{Slug: "wear", Name: "Outdoor Wear", Line: "Layers for wind, rain and the walk home after.", Picture: "jacket"},
		{Slug: "home", Name: "House & Hearth", Line: "Quiet, useful things for the rooms you come back to.", Picture: "mug"},
		{Slug: "garden", Name: "Garden & Shed", Line: "Tools with a good edge, and something to carry the harvest.", Picture: "can"},
	}
}

func allProducts() []product {
	return []product{
		{Slug: "ridgeline-tent", Name: "Ridgeline Two-Person Tent", Category: "camp", Price: 28900, Rating: "4.8", Reviews: 214, Featured: true, Picture: "tent",
			Line:    "A storm-proof tunnel tent that pitches in four minutes.",
			Text:    "Two aluminium poles, one colour-coded sleeve, and room for two people who still like each other in the morning. The fly goes up first, so the inside stays dry when the weather does not.",
			Details: []string{"Weight 2.1 kg", "Floor 220 × 135 cm", "Water column 4,000 mm", "Repaired free of charge for ten years"}},
		{Slug: "hollow-oak-sleeping-bag", Name: "Hollow Oak Sleeping Bag", Category: "camp", Price: 15900, Rating: "4.7", Reviews: 98, Picture: "bag",
			Line:    "Recycled down, comfortable to minus two.",
			Text:    "Box-wall chambers keep the down where you need it, and the hood closes with one hand. Comes with a cotton bag to store it loose at home.",
			Details: []string{"Comfort −2 °C", "Weight 980 g", "Fill: recycled duck down", "Left and right zips pair up"}},
		{Slug: "ember-camp-stove", Name: "Ember Camp Stove", Category: "camp", Price: 6400, Rating: "4.6", Reviews: 173, Picture: "stove",
			Line:    "Folds flat, burns twigs, boils a litre in eight minutes.",
			Text:    "Five steel plates that lock into a chimney. It needs no cartridge, only what lies under the trees, and leaves nothing behind.",
			Details: []string{"Stainless steel", "Weight 410 g", "Packs to 18 × 13 × 1 cm"}},
		{Slug: "fen-lantern", Name: "Fen Lantern", Category: "camp", Price: 3990, Rating: "4.9", Reviews: 341, Featured: true, Picture: "lantern",
			Line:    "Warm light for forty hours on one charge.",
			Text:    "A dimmable lantern with the glow of a paraffin lamp and none of the smell. Hangs from a branch, a ridge line or a kitchen hook.",
			Details: []string{"5 to 320 lumens", "USB-C, 40 h at reading light", "Splash-proof IPX4"}},
		{Slug: "heron-daypack", Name: "Heron Daypack 22", Category: "camp", Price: 9800, Rating: "4.7", Reviews: 256, Featured: true, Picture: "pack",
			Line:    "Waxed cotton, 22 litres, one big opening.",
			Text:    "A roll-top pack that swallows a jacket, lunch and a library book. The back panel is felted wool, which stays cool and never squeaks.",
			Details: []string{"22 litres", "Waxed organic cotton", "Fits a 15-inch laptop", "Brass hardware"}},
		{Slug: "tarn-bottle", Name: "Tarn Insulated Bottle", Category: "camp", Price: 2850, Rating: "4.5", Reviews: 402, Picture: "bottle",
			Line:    "Cold for a day, hot for half of one.",
			Text:    "Double-walled steel with a cap that opens in gloves. The powder coat grips when wet and comes in the colour of deep water.",
			Details: []string{"750 ml", "Stainless steel 18/8", "Dishwasher-safe cap"}},

		{Slug: "moorland-jacket", Name: "Moorland Waxed Jacket", Category: "wear", Price: 21900, Rating: "4.8", Reviews: 187, Featured: true, Picture: "jacket",
			Line:    "The coat that gets better with every winter.",
			Text:    "Heavy waxed canvas over a wool lining, cut long enough to sit on wet walls. Send it back each autumn and we wax it again.",
			Details: []string{"Waxed cotton, 12 oz", "Lining: recycled wool", "Two-way brass zip", "Sizes XS to XXL"}},
		{Slug: "drover-boots", Name: "Drover Boots", Category: "wear", Price: 18900, Rating: "4.6", Reviews: 149, Picture: "boot",
			Line:    "Stitched, not glued, and resoled for life.",
			Text:    "Full-grain leather on a welted sole. Stiff for a week, then yours for a decade.",
			Details: []string{"Goodyear welt", "Oak-bark tanned leather", "Resoling service"}},
		{Slug: "skerry-sweater", Name: "Skerry Fisherman Sweater", Category: "wear", Price: 12900, Rating: "4.9", Reviews: 305, Featured: true, Picture: "sweater",
			Line:    "Undyed wool with the lanolin left in.",
			Text:    "Knitted in one piece on old frames. Sheds drizzle, forgives sparks, and smells faintly of sheep for the first month.",
			Details: []string{"100 % new wool", "Knitted in the round", "Wash rarely, air often"}},
		{Slug: "thicket-socks", Name: "Thicket Walking Socks", Category: "wear", Price: 1800, Rating: "4.7", Reviews: 512, Picture: "sock",
			Line:    "Merino where it rubs, nylon where it wears.",
			Text:    "A cushioned heel, a flat toe seam, and a cuff that stays up without marking.",
			Details: []string{"70 % merino", "Sizes 36 to 47", "Guaranteed for two years"}},
		{Slug: "reed-sun-hat", Name: "Reed Sun Hat", Category: "wear", Price: 4500, Rating: "4.4", Reviews: 76, Picture: "hat",
			Line:    "Plaited by hand, shade for a whole afternoon.",
			Text:    "A wide brim with a cotton band inside. Rolls up for the suitcase and opens out again with a little steam.",
			Details: []string{"Natural straw", "Brim 9 cm", "UPF 40"}},
		{Slug: "tidewater-shell", Name: "Tidewater Rain Shell", Category: "wear", Price: 14500, Rating: "4.6", Reviews: 131, Picture: "shell",
			Line:    "Three layers, no rustle, all weather.",
			Text:    "A soft shell without fluorocarbons, taped all through, with a hood that turns with your head.",
			Details: []string{"Three-layer laminate", "Weight 390 g", "PFC-free", "Pit zips"}},

		{Slug: "loch-blanket", Name: "Loch Wool Blanket", Category: "home", Price: 11900, Rating: "4.9", Reviews: 267, Featured: true, Picture: "blanket",
			Line:    "Woven on the west coast in the colours of the shore.",
			Text:    "A generous blanket in lambswool, soft from the first evening. The fringe is twisted by hand, which takes as long as the weaving.",
			Details: []string{"Lambswool", "150 × 190 cm", "Dry clean or cold wash"}},
		{Slug: "kiln-mug", Name: "Kiln Stoneware Mug", Category: "home", Price: 1990, Rating: "4.8", Reviews: 488, Featured: true, Picture: "mug",
			Line:    "Fired twice, holds a proper amount of tea.",
			Text:    "Thrown by a pottery of six people. No two are quite the same, and the handle fits four fingers.",
			Details: []string{"350 ml", "Dishwasher and microwave safe", "Lead-free glaze"}},
		{Slug: "hive-candle", Name: "Hive Beeswax Candle", Category: "home", Price: 2400, Rating: "4.7", Reviews: 164, Picture: "candle",
			Line:    "Pure beeswax, forty hours, no scent but its own.",
			Text:    "Poured into a glass that becomes a tumbler afterwards. Burns clean with a wick of plaited cotton.",
			Details: []string{"100 % beeswax", "Burns about 40 h", "Reusable glass"}},
		{Slug: "orchard-board", Name: "Orchard Cutting Board", Category: "home", Price: 5400, Rating: "4.6", Reviews: 119, Picture: "board",
			Line:    "One piece of pear wood, kind to good knives.",
			Text:    "Cut from orchard trees at the end of their bearing years, planed, oiled, and left to settle for three months.",
			Details: []string{"Pear wood", "42 × 26 × 2.5 cm", "Oiled with linseed"}},
		{Slug: "larder-apron", Name: "Larder Linen Apron", Category: "home", Price: 4200, Rating: "4.5", Reviews: 88, Picture: "apron",
			Line:    "Washed linen with pockets that hold things.",
			Text:    "Crossed straps, so nothing pulls at the neck, and a loop for the towel you are always looking for.",
			Details: []string{"European linen", "One size, long straps", "Machine wash 40 °C"}},
		{Slug: "smithy-skillet", Name: "Smithy Iron Skillet", Category: "home", Price: 7800, Rating: "4.8", Reviews: 233, Picture: "skillet",
			Line:    "Cast iron, machined smooth, seasoned by us.",
			Text:    "Light enough to lift with one hand and heavy enough to sear. Works on gas, induction, in the oven and over a fire.",
			Details: []string{"Diameter 26 cm", "2.2 kg", "Seasoned with flax oil"}},

		{Slug: "copper-watering-can", Name: "Copper Watering Can", Category: "garden", Price: 6900, Rating: "4.7", Reviews: 142, Featured: true, Picture: "can",
			Line:    "A long neck, a fine rose, and a colour that deepens.",
			Text:    "Balanced to pour without spilling when half full. The rose unscrews for seedlings.",
			Details: []string{"1.5 litres", "Solid copper", "Brass rose"}},
		{Slug: "hazel-trug", Name: "Hazel Trug", Category: "garden", Price: 3600, Rating: "4.6", Reviews: 67, Picture: "basket",
			Line:    "A shallow basket for beans, eggs and secateurs.",
			Text:    "Split hazel on a bent ash frame, made by a weaver who grows her own.",
			Details: []string{"45 × 28 cm", "Hazel and ash", "Carries 8 kg"}},
		{Slug: "terra-pot-trio", Name: "Terra Pot Trio", Category: "garden", Price: 4800, Rating: "4.5", Reviews: 93, Picture: "pot",
			Line:    "Three frost-proof pots that nest when empty.",
			Text:    "Clay fired hot enough to stay outside all winter, with saucers that fit.",
			Details: []string{"Ø 14, 18 and 22 cm", "Frost-proof to −15 °C", "With saucers"}},
		{Slug: "hedgerow-secateurs", Name: "Hedgerow Secateurs", Category: "garden", Price: 4450, Rating: "4.8", Reviews: 201, Picture: "secateurs",
			Line:    "A bypass cut as clean as the first one, for years.",
			Text:    "Forged steel, ash handles, and every part can be bought on its own.",
			Details: []string{"Cuts to 22 mm", "Replaceable blade and spring", "Left-handed version on request"}},
		{Slug: "ash-hand-tools", Name: "Ash Fork & Trowel", Category: "garden", Price: 3900, Rating: "4.7", Reviews: 158, Picture: "trowel",
			Line:    "A pair for beds and pots, with handles that fit.",
			Text:    "Stainless heads that shed clay, on oiled ash with a leather loop.",
			Details: []string{"Length 30 cm", "Stainless steel", "FSC ash"}},
		{Slug: "willow-bird-house", Name: "Willow Bird House", Category: "garden", Price: 3200, Rating: "4.6", Reviews: 84, Picture: "birdhouse",
			Line:    "For tits, sparrows and anyone who likes to watch.",
			Text:    "Built to the measurements that birds prefer, with a roof that opens for the autumn cleaning.",
			Details: []string{"Entrance 32 mm", "Untreated larch", "With hanging wire"}},
	}
}
