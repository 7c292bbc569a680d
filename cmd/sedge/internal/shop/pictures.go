package shop

import "strings"

// Pictures are drawn from a few shapes each, so that the shop needs no files of
// somebody else's. All stand in a square of 400 by 400.

// palette is what a category's pictures are painted in.
type palette struct{ sky, hill, ground, main, dark, light string }

func paletteOf(category string) palette {
	switch category {
	case "camp":
		return palette{"#dfe7d8", "#b9cbb1", "#93ad8e", "#d9853b", "#4a3a28", "#f6e3bd"}
	case "wear":
		return palette{"#e6e2ea", "#cbc4d3", "#aaa2b8", "#3f5873", "#263648", "#dce6ee"}
	case "home":
		return palette{"#f3e6d6", "#e6cdb0", "#d3b08a", "#a8502f", "#5b2c1b", "#fbf1e2"}
	default:
		return palette{"#e3ecd6", "#c4d8aa", "#9dbb7c", "#b9713d", "#3c4d2b", "#f2e7c9"}
	}
}

// productPicture draws a product in the colours of its category.
func productPicture(drawing, category string) []byte {
	p := paletteOf(category)
	paint := strings.NewReplacer("SKY", p.sky, "HILL", p.hill, "GROUND", p.ground, "MAIN", p.main, "DARK", p.dark, "LIGHT", p.light)
	return []byte(paint.Replace(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" width="400" height="400">` +
		`<rect width="400" height="400" fill="SKY"/><circle cx="305" cy="95" r="42" fill="LIGHT"/>` +
		`<path d="M0 270C70 215 130 225 200 255S330 290 400 235V400H0Z" fill="HILL"/>` +
		`<path d="M0 330C90 300 190 315 260 325S350 335 400 318V400H0Z" fill="GROUND"/>` +
		`<ellipse cx="200" cy="338" rx="120" ry="14" fill="DARK" opacity=".18"/>` +
		`<g stroke-linejoin="round" stroke-linecap="round">` + drawings(drawing) + `</g></svg>` + "\n"))
}

// heroPicture is the marsh at dusk behind the headline of the home page.
func heroPicture() []byte {
	var reeds strings.Builder
	for i, x := range []string{"60", "95", "118", "170", "1010", "1050", "1090", "1120", "1165"} {
		height := []string{"300", "260", "340", "290", "320"}[i%5]
		reeds.WriteString(`<path d="M` + x + ` 640V` + height + `" stroke="#33482f" stroke-width="5"/><ellipse cx="` + x + `" cy="` + height + `" rx="8" ry="34" fill="#5a3c24"/>`)
	}
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 640" width="1200" height="640" preserveAspectRatio="xMidYMid slice">` +
		`<defs><linearGradient id="s" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#6f8f93"/><stop offset=".55" stop-color="#d9b98a"/><stop offset="1" stop-color="#e9a766"/></linearGradient></defs>` +
		`<rect width="1200" height="640" fill="url(#s)"/><circle cx="820" cy="285" r="62" fill="#fbe3ad"/>` +
		`<path d="M0 340C160 270 300 300 460 325S820 260 1200 335V640H0Z" fill="#7b8a72"/>` +
		`<path d="M0 400C220 345 420 390 640 385S1010 360 1200 405V640H0Z" fill="#566b55"/>` +
		`<path d="M0 450H1200V640H0Z" fill="#7f9a94"/><path d="M690 470h260M740 500h170M780 530h90" stroke="#fbe3ad" stroke-width="7" opacity=".7" stroke-linecap="round"/>` +
		`<path d="M0 560C200 520 420 585 640 570S1000 540 1200 575V640H0Z" fill="#33482f"/>` +
		`<path d="M520 420l60-78 60 78z" fill="#c9703a"/><path d="M580 342l18 78h-36z" fill="#5a3c24"/>` +
		reeds.String() + `</svg>` + "\n")
}

func favicon() []byte {
	return []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2f4b3c"/>` +
		`<path d="M16 27V10m0 8c-4 0-7-2-7-7 5 0 7 3 7 7Zm0-5c3 0 6-3 6-8-4 1-6 4-6 8Z" fill="none" stroke="#e8b04b" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round"/></svg>` + "\n")
}

// drawings is the table of all drawings; an unknown name draws a parcel.
func drawings(name string) string {
	switch name {
	case "tent":
		return `<path d="M70 335 195 150 330 335Z" fill="MAIN"/><path d="M195 150 160 335H232Z" fill="DARK"/><path d="M195 150 232 335 262 335Z" fill="LIGHT"/><path d="M195 150l-8-16m8 16 8-16" stroke="DARK" stroke-width="5" fill="none"/>`
	case "bag":
		return `<path d="M130 335V190a70 70 0 0 1 140 0v145Z" fill="MAIN"/><ellipse cx="200" cy="190" rx="46" ry="42" fill="DARK"/><ellipse cx="200" cy="198" rx="34" ry="30" fill="LIGHT"/><path d="M130 255h140M130 292h140" stroke="DARK" stroke-width="4" opacity=".5"/><path d="M255 220v112" stroke="LIGHT" stroke-width="4" stroke-dasharray="6 7"/>`
	case "stove":
		return `<path d="M140 335V220h120v115Z" fill="DARK"/><path d="M155 315h22v-40h-22zm34 0h22v-40h-22zm34 0h22v-40h-22z" fill="MAIN"/><path d="M200 210c-34-26-8-48-2-78 22 22 40 48 22 78Z" fill="MAIN"/><path d="M202 210c-14-14-4-26 0-40 10 14 16 28 6 40Z" fill="LIGHT"/><path d="M128 220h144" stroke="DARK" stroke-width="10"/>`
	case "lantern":
		return `<path d="M160 190h80l14 120H146Z" fill="LIGHT"/><circle cx="200" cy="255" r="30" fill="MAIN" opacity=".75"/><path d="M138 310h124v25H138Zm22-140h80v22h-80Z" fill="DARK"/><path d="M165 170c0-60 70-60 70 0" fill="none" stroke="DARK" stroke-width="7"/><path d="M160 192 146 310m94-118 14 118" stroke="DARK" stroke-width="6"/>`
	case "pack":
		return `<rect x="125" y="165" width="150" height="170" rx="32" fill="MAIN"/><path d="M125 205c0-70 150-70 150 0Z" fill="DARK"/><rect x="150" y="245" width="100" height="68" rx="14" fill="LIGHT"/><path d="M175 155c0-34 50-34 50 0" fill="none" stroke="DARK" stroke-width="9"/><path d="M165 205v50m70-50v50" stroke="DARK" stroke-width="9"/>`
	case "bottle":
		return `<rect x="160" y="175" width="80" height="160" rx="18" fill="MAIN"/><path d="M172 175c0-22 8-24 8-36h40c0 12 8 14 8 36Z" fill="LIGHT"/><rect x="172" y="110" width="56" height="32" rx="7" fill="DARK"/><path d="M178 230h44M178 246h28" stroke="LIGHT" stroke-width="6"/>`
	case "jacket":
		return `<path d="M150 140 90 185l18 120 30-6v36h124v-36l30 6 18-120-60-45Z" fill="MAIN"/><path d="M150 140c20 26 80 26 100 0l-18-12h-64Z" fill="DARK"/><path d="M200 160v175" stroke="LIGHT" stroke-width="5"/><path d="M152 270h32m32 0h32" stroke="DARK" stroke-width="7"/>`
	case "boot":
		return `<path d="M145 140h85v105c0 18 70 18 85 60v20H145Z" fill="MAIN"/><path d="M138 322h184v16H138Z" fill="DARK"/><path d="M145 140h85v24h-85Z" fill="DARK"/><path d="M185 190h45m-45 24h45m-45 24h52" stroke="LIGHT" stroke-width="6"/>`
	case "sweater":
		return `<path d="M150 145 88 195l24 118 30-8v30h116v-30l30 8 24-118-62-50c-24 26-76 26-100 0Z" fill="LIGHT"/><path d="M150 145c24 26 76 26 100 0l-12-12c-20 18-56 18-76 0Z" fill="MAIN"/><path d="M148 215l13 14 13-14 13 14 13-14 13 14 13-14 13 14 13-14M148 245l13 14 13-14 13 14 13-14 13 14 13-14 13 14 13-14" fill="none" stroke="MAIN" stroke-width="6"/><path d="M142 320h116" stroke="MAIN" stroke-width="10"/>`
	case "sock":
		return `<path d="M165 130h75v110c0 22 42 30 42 62 0 20-14 33-36 33-46 0-81-40-81-90Z" fill="MAIN"/><path d="M165 130h75v28h-75Z" fill="DARK"/><path d="M165 185h75M165 207h75" stroke="LIGHT" stroke-width="8"/><path d="M262 330c18-6 22-26 16-40" stroke="DARK" stroke-width="12" fill="none"/>`
	case "hat":
		return `<ellipse cx="200" cy="305" rx="135" ry="32" fill="LIGHT"/><path d="M130 300c0-130 140-130 140 0-30 18-110 18-140 0Z" fill="LIGHT"/><path d="M131 280c30 18 108 18 138 0l2 22c-30 18-112 18-142 0Z" fill="MAIN"/><path d="M65 305c20 42 250 42 270 0" fill="none" stroke="DARK" stroke-width="4" opacity=".4"/>`
	case "shell":
		return `<path d="M150 165 95 205l16 105 28-6v31h122v-31l28 6 16-105-55-40Z" fill="MAIN"/><path d="M150 170c-10-66 110-66 100 0-14 30-86 30-100 0Z" fill="DARK"/><path d="M170 168c0-38 60-38 60 0-12 16-48 16-60 0Z" fill="LIGHT"/><path d="M200 190v145" stroke="LIGHT" stroke-width="4"/><path d="M152 230l24 20M248 230l-24 20" stroke="DARK" stroke-width="5"/>`
	case "blanket":
		return `<rect x="105" y="190" width="190" height="125" rx="16" fill="MAIN"/><path d="M105 228h190M105 277h190" stroke="LIGHT" stroke-width="10"/><path d="M150 190v125m50-125v125m50-125v125" stroke="DARK" stroke-width="6" opacity=".5"/><path d="M110 318v16m18-16v16m18-16v16m18-16v16m18-16v16m18-16v16m18-16v16m18-16v16m18-16v16m18-16v16" stroke="MAIN" stroke-width="5"/>`
	case "mug":
		return `<path d="M125 195h130v110a30 30 0 0 1-30 30h-70a30 30 0 0 1-30-30Z" fill="LIGHT"/><path d="M125 195h130v48c-30 18-50-14-80 6-20 12-36 4-50-6Z" fill="MAIN"/><path d="M255 220c58-8 58 86 0 78" fill="none" stroke="MAIN" stroke-width="16"/><path d="M165 175c-12-18 12-26 0-46m44 46c-12-18 12-26 0-46" stroke="DARK" stroke-width="6" fill="none" opacity=".45"/>`
	case "candle":
		return `<path d="M145 215h110v120H145Z" fill="LIGHT"/><path d="M145 250h110v85H145Z" fill="MAIN" opacity=".85"/><path d="M200 215v-24" stroke="DARK" stroke-width="6"/><path d="M200 190c-24-20-4-38 0-58 12 18 24 36 0 58Z" fill="MAIN"/><rect x="170" y="275" width="60" height="34" rx="4" fill="LIGHT"/>`
	case "board":
		return `<path d="M120 185h160a18 18 0 0 1 18 18v114a18 18 0 0 1-18 18H120a18 18 0 0 1-18-18V203a18 18 0 0 1 18-18Z" fill="MAIN"/><path d="M180 185v-48h40v48Z" fill="MAIN"/><circle cx="200" cy="156" r="9" fill="SKY"/><path d="M125 225c50-16 100 16 150 0M125 262c50-16 100 16 150 0m-150 37c50-16 100 16 150 0" stroke="DARK" stroke-width="4" fill="none" opacity=".4"/>`
	case "apron":
		return `<path d="M160 160h80l10 55 30 10v110H120V225l30-10Z" fill="LIGHT"/><path d="M160 160c-6-46 86-46 80 0" fill="none" stroke="MAIN" stroke-width="7"/><path d="M120 240H95m185 0h25" stroke="MAIN" stroke-width="7"/><path d="M155 255h90v50h-90Zm45 0v50" fill="none" stroke="MAIN" stroke-width="5"/>`
	case "skillet":
		return `<ellipse cx="180" cy="285" rx="105" ry="48" fill="DARK"/><ellipse cx="180" cy="276" rx="86" ry="34" fill="MAIN" opacity=".5"/><path d="M275 262 360 215" stroke="DARK" stroke-width="22"/><circle cx="352" cy="219" r="6" fill="SKY"/><ellipse cx="175" cy="274" rx="36" ry="17" fill="LIGHT"/><circle cx="180" cy="272" r="10" fill="#e8b04b"/>`
	case "can":
		return `<path d="M140 215h110l12 120H128Z" fill="MAIN"/><path d="M255 300 325 190" stroke="MAIN" stroke-width="15"/><path d="M305 170l46 28-14 20-46-28Z" fill="DARK"/><path d="M140 225c-70-10-70 90-6 88" fill="none" stroke="DARK" stroke-width="11"/><path d="M165 215c0-44 60-44 60 0" fill="none" stroke="DARK" stroke-width="9"/><path d="M135 262h122" stroke="LIGHT" stroke-width="6"/>`
	case "basket":
		return `<path d="M90 240h220l-28 82a22 22 0 0 1-20 13H138a22 22 0 0 1-20-13Z" fill="MAIN"/><path d="M100 268h200M110 296h180M150 240v95m50-95v95m50-95v95" stroke="DARK" stroke-width="5" opacity=".5"/><path d="M110 240c20-140 160-140 180 0" fill="none" stroke="DARK" stroke-width="11"/><circle cx="165" cy="228" r="20" fill="LIGHT"/><circle cx="208" cy="224" r="23" fill="#c7503a"/><circle cx="248" cy="230" r="18" fill="LIGHT"/>`
	case "pot":
		return `<path d="M140 245h120l-16 90H156Z" fill="MAIN"/><path d="M130 222h140v28H130Z" fill="DARK" opacity=".75"/><path d="M200 222v-62" stroke="DARK" stroke-width="6"/><path d="M200 190c-44 0-56-26-56-48 36 0 56 16 56 48Zm0-16c0-34 20-52 56-56 2 34-18 56-56 56Z" fill="#5f8a4b"/>`
	case "secateurs":
		return `<path d="M205 235C190 180 165 150 150 120c46 12 74 50 74 108Z" fill="LIGHT"/><path d="M200 235c8-46 28-80 62-100 2 46-16 84-44 106Z" fill="DARK"/><path d="M205 240c-34 26-52 56-60 92m70-92c32 24 50 54 58 92" fill="none" stroke="MAIN" stroke-width="20"/><circle cx="209" cy="236" r="13" fill="DARK"/>`
	case "trowel":
		return `<path d="M150 335V235" stroke="MAIN" stroke-width="18"/><path d="M122 235c0-56 14-92 28-106 14 14 28 50 28 106Z" fill="LIGHT"/><path d="M255 335V235" stroke="MAIN" stroke-width="18"/><path d="M225 140v62c0 40 60 40 60 0v-62m-30 0v90" fill="none" stroke="DARK" stroke-width="10"/>`
	case "birdhouse":
		return `<path d="M140 215h120v115H140Z" fill="LIGHT"/><path d="M118 222 200 135l82 87Z" fill="MAIN"/><circle cx="200" cy="255" r="21" fill="DARK"/><path d="M200 292v20" stroke="DARK" stroke-width="9"/><path d="M200 135V95" stroke="DARK" stroke-width="4"/><path d="M292 205c14-16 34-12 40 2l14 4-14 6c-8 18-38 14-40-12Z" fill="DARK"/>`
	default:
		return `<rect x="120" y="190" width="160" height="145" fill="MAIN"/><path d="M200 190v145M120 240h160" stroke="DARK" stroke-width="10"/>`
	}
}
