package rewrite

// tag names an element. Known elements have constant values; the names that only
// selectors know come next, then those that only the page knows.
type tag int32

// The elements that the HTML standard gives rules for.
const (
	tagNone tag = iota // the document itself, and the name of nothing
	tagA
	tagAddress
	tagAnnotationXML
	tagApplet
	tagArea
	tagArticle
	tagAside
	tagB
	tagBase
	tagBasefont
	tagBgsound
	tagBig
	tagBlockquote
	tagBody
	tagBr
	tagButton
	tagCaption
	tagCenter
	tagCode
	tagCol
	tagColgroup
	tagDD
	tagDesc
	tagDetails
	tagDialog
	tagDir
	tagDiv
	tagDL
	tagDT
	tagEm
	tagEmbed
	tagFieldset
	tagFigcaption
	tagFigure
	tagFont
	tagFooter
	tagForeignObject
	tagForm
	tagFrame
	tagFrameset
	tagH1
	tagH2
	tagH3
	tagH4
	tagH5
	tagH6
	tagHead
	tagHeader
	tagHgroup
	tagHr
	tagHTML
	tagI
	tagIframe
	tagImage
	tagImg
	tagInput
	tagKeygen
	tagLI
	tagLink
	tagListing
	tagMain
	tagMalignmark
	tagMarquee
	tagMath
	tagMenu
	tagMeta
	tagMglyph
	tagMI
	tagMN
	tagMO
	tagMS
	tagMtext
	tagNav
	tagNobr
	tagNoembed
	tagNoframes
	tagNoscript
	tagObject
	tagOL
	tagOptgroup
	tagOption
	tagP
	tagParam
	tagPlaintext
	tagPre
	tagRB
	tagRP
	tagRT
	tagRTC
	tagRuby
	tagS
	tagScript
	tagSearch
	tagSection
	tagSelect
	tagSmall
	tagSource
	tagSpan
	tagStrike
	tagStrong
	tagStyle
	tagSub
	tagSummary
	tagSup
	tagSVG
	tagTable
	tagTbody
	tagTD
	tagTemplate
	tagTextarea
	tagTfoot
	tagTH
	tagThead
	tagTitle
	tagTR
	tagTrack
	tagTT
	tagU
	tagUL
	tagVar
	tagWbr
	tagXmp
	knownTags // the number of known tags
)

// trait is a property that the standard gives to an element.
type trait uint16

const (
	isVoid       trait = 1 << iota // has no content and no end tag
	isSpecial                      // "special" category: stops the search for a start tag
	isBarrier                      // ends a scope
	closesP                        // its start tag ends an open p
	isFormatting                   // its end tag may stand in the wrong order
	isHeadPart                     // may stand in head without ending it
	isRaw                          // its content is text
	isBreakout                     // ends foreign content
	isImplied                      // its end tag is generated when needed
	scopedEnd                      // its end tag works on the nearest one in scope
	isTablePart                    // part of a table's structure
)

type tagInfo struct {
	name   string
	traits trait
}

// tagInfos holds what the HTML standard says about each known element
// (https://html.spec.whatwg.org/multipage/parsing.html).
var tagInfos = [knownTags]tagInfo{
	tagNone:          {"", isSpecial | isBarrier},
	tagA:             {"a", isFormatting},
	tagAddress:       {"address", isSpecial | closesP | scopedEnd},
	tagAnnotationXML: {"annotation-xml", 0},
	tagApplet:        {"applet", isSpecial | isBarrier | scopedEnd},
	tagArea:          {"area", isVoid | isSpecial},
	tagArticle:       {"article", isSpecial | closesP | scopedEnd},
	tagAside:         {"aside", isSpecial | closesP | scopedEnd},
	tagB:             {"b", isFormatting | isBreakout},
	tagBase:          {"base", isVoid | isSpecial | isHeadPart},
	tagBasefont:      {"basefont", isVoid | isSpecial | isHeadPart},
	tagBgsound:       {"bgsound", isVoid | isSpecial | isHeadPart},
	tagBig:           {"big", isFormatting | isBreakout},
	tagBlockquote:    {"blockquote", isSpecial | closesP | scopedEnd | isBreakout},
	tagBody:          {"body", isSpecial | isBreakout},
	tagBr:            {"br", isVoid | isSpecial | isBreakout},
	tagButton:        {"button", isSpecial | scopedEnd},
	tagCaption:       {"caption", isSpecial | isBarrier | isTablePart},
	tagCenter:        {"center", isSpecial | closesP | scopedEnd | isBreakout},
	tagCode:          {"code", isFormatting | isBreakout},
	tagCol:           {"col", isVoid | isSpecial | isTablePart},
	tagColgroup:      {"colgroup", isSpecial | isTablePart},
	tagDD:            {"dd", isSpecial | closesP | scopedEnd | isBreakout | isImplied},
	tagDesc:          {"desc", 0},
	tagDetails:       {"details", isSpecial | closesP | scopedEnd},
	tagDialog:        {"dialog", closesP | scopedEnd},
	tagDir:           {"dir", isSpecial | closesP | scopedEnd},
	tagDiv:           {"div", isSpecial | closesP | scopedEnd | isBreakout},
	tagDL:            {"dl", isSpecial | closesP | scopedEnd | isBreakout},
	tagDT:            {"dt", isSpecial | closesP | scopedEnd | isBreakout | isImplied},
	tagEm:            {"em", isFormatting | isBreakout},
	tagEmbed:         {"embed", isVoid | isSpecial | isBreakout},
	tagFieldset:      {"fieldset", isSpecial | closesP | scopedEnd},
	tagFigcaption:    {"figcaption", isSpecial | closesP | scopedEnd},
	tagFigure:        {"figure", isSpecial | closesP | scopedEnd},
	tagFont:          {"font", isFormatting},
	tagFooter:        {"footer", isSpecial | closesP | scopedEnd},
	tagForeignObject: {"foreignobject", 0},
	tagForm:          {"form", isSpecial | closesP},
	tagFrame:         {"frame", isVoid | isSpecial},
	tagFrameset:      {"frameset", isSpecial},
	tagH1:            {"h1", isSpecial | closesP | isBreakout},
	tagH2:            {"h2", isSpecial | closesP | isBreakout},
	tagH3:            {"h3", isSpecial | closesP | isBreakout},
	tagH4:            {"h4", isSpecial | closesP | isBreakout},
	tagH5:            {"h5", isSpecial | closesP | isBreakout},
	tagH6:            {"h6", isSpecial | closesP | isBreakout},
	tagHead:          {"head", isSpecial | isBreakout},
	tagHeader:        {"header", isSpecial | closesP | scopedEnd},
	tagHgroup:        {"hgroup", isSpecial | closesP | scopedEnd},
	tagHr:            {"hr", isVoid | isSpecial | closesP | isBreakout},
	tagHTML:          {"html", isSpecial | isBarrier},
	tagI:             {"i", isFormatting | isBreakout},
	tagIframe:        {"iframe", isSpecial | isRaw},
	tagImage:         {"image", isVoid},
	tagImg:           {"img", isVoid | isSpecial | isBreakout},
	tagInput:         {"input", isVoid | isSpecial},
	tagKeygen:        {"keygen", isVoid | isSpecial},
	tagLI:            {"li", isSpecial | closesP | isBreakout | isImplied},
	tagLink:          {"link", isVoid | isSpecial | isHeadPart},
	tagListing:       {"listing", isSpecial | closesP | scopedEnd | isBreakout},
	tagMain:          {"main", isSpecial | closesP | scopedEnd},
	tagMalignmark:    {"malignmark", 0},
	tagMarquee:       {"marquee", isSpecial | isBarrier | scopedEnd},
	tagMath:          {"math", 0},
	tagMenu:          {"menu", isSpecial | closesP | scopedEnd | isBreakout},
	tagMeta:          {"meta", isVoid | isSpecial | isHeadPart | isBreakout},
	tagMglyph:        {"mglyph", 0},
	tagMI:            {"mi", 0},
	tagMN:            {"mn", 0},
	tagMO:            {"mo", 0},
	tagMS:            {"ms", 0},
	tagMtext:         {"mtext", 0},
	tagNav:           {"nav", isSpecial | closesP | scopedEnd},
	tagNobr:          {"nobr", isFormatting | isBreakout},
	tagNoembed:       {"noembed", isSpecial | isRaw},
	tagNoframes:      {"noframes", isSpecial | isRaw | isHeadPart},
	tagNoscript:      {"noscript", isSpecial | isRaw | isHeadPart},
	tagObject:        {"object", isSpecial | isBarrier | scopedEnd},
	tagOL:            {"ol", isSpecial | closesP | scopedEnd | isBreakout},
	tagOptgroup:      {"optgroup", isImplied},
	tagOption:        {"option", isImplied},
	tagP:             {"p", isSpecial | closesP | isBreakout | isImplied},
	tagParam:         {"param", isVoid | isSpecial},
	tagPlaintext:     {"plaintext", isSpecial | closesP | isRaw},
	tagPre:           {"pre", isSpecial | closesP | scopedEnd | isBreakout},
	tagRB:            {"rb", isImplied},
	tagRP:            {"rp", isImplied},
	tagRT:            {"rt", isImplied},
	tagRTC:           {"rtc", isImplied},
	tagRuby:          {"ruby", isBreakout},
	tagS:             {"s", isFormatting | isBreakout},
	tagScript:        {"script", isSpecial | isHeadPart | isRaw},
	tagSearch:        {"search", isSpecial | closesP | scopedEnd},
	tagSection:       {"section", isSpecial | closesP | scopedEnd},
	tagSelect:        {"select", isSpecial | scopedEnd},
	tagSmall:         {"small", isFormatting | isBreakout},
	tagSource:        {"source", isVoid | isSpecial},
	tagSpan:          {"span", isBreakout},
	tagStrike:        {"strike", isFormatting | isBreakout},
	tagStrong:        {"strong", isFormatting | isBreakout},
	tagStyle:         {"style", isSpecial | isHeadPart | isRaw},
	tagSub:           {"sub", isBreakout},
	tagSummary:       {"summary", isSpecial | closesP | scopedEnd},
	tagSup:           {"sup", isBreakout},
	tagSVG:           {"svg", 0},
	tagTable:         {"table", isSpecial | isBarrier | closesP | isBreakout},
	tagTbody:         {"tbody", isSpecial | isTablePart},
	tagTD:            {"td", isSpecial | isBarrier | isTablePart},
	tagTemplate:      {"template", isSpecial | isBarrier | isHeadPart},
	tagTextarea:      {"textarea", isSpecial | isRaw},
	tagTfoot:         {"tfoot", isSpecial | isTablePart},
	tagTH:            {"th", isSpecial | isBarrier | isTablePart},
	tagThead:         {"thead", isSpecial | isTablePart},
	tagTitle:         {"title", isSpecial | isHeadPart | isRaw},
	tagTR:            {"tr", isSpecial | isTablePart},
	tagTrack:         {"track", isVoid | isSpecial},
	tagTT:            {"tt", isFormatting | isBreakout},
	tagU:             {"u", isFormatting | isBreakout},
	tagUL:            {"ul", isSpecial | closesP | scopedEnd | isBreakout},
	tagVar:           {"var", isBreakout},
	tagWbr:           {"wbr", isVoid | isSpecial},
	tagXmp:           {"xmp", isSpecial | closesP | isRaw},
}

// is reports whether the standard gives t one of the traits.
func (t tag) is(wanted trait) bool {
	return t < knownTags && tagInfos[t].traits&wanted != 0
}

// endsPlainly reports whether the end tag of t ends the innermost element, if that
// is one of t in the body, whatever else is open.
func (t tag) endsPlainly() bool {
	switch t {
	case tagNone, tagForm, tagHead, tagBody, tagHTML, tagFrameset:
		return false
	}
	return t < knownTags && tagInfos[t].traits&(isVoid|isBarrier|isTablePart|isRaw) == 0
}

// isHeading reports whether t is one of h1 to h6.
func (t tag) isHeading() bool { return t >= tagH1 && t <= tagH6 }
