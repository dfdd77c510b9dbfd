package guest

import (
	_ "embed" // of the lists
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// osVersions are the values of os_version in two editions of the service's API
// reference. Regions differ; the list of the region is better where it can be had.
//
//go:embed os_versions.txt
var osVersions string

// OSVersions returns the values of os_version that the service's documents list.
func OSVersions() []string { return strings.Split(strings.TrimSpace(osVersions), "\n") }

// osVersion is a value of os_version taken apart.
type osVersion struct {
	text    string
	family  string   // ID as in os-release
	version []int    // numbers
	words   []string // Windows: of the product's name
	bits    int      // 0 if it does not say
}

// families tells distributions by the beginning of the service's names, spaces and
// case left out. Longer ones come first.
var families = []struct{ prefix, id string }{
	{"huaweicloudeuleros", "hce"}, {"centosstream", "centos-stream"}, {"redhatlinuxenterprise", "rhel"}, {"redhatenterpriselinux", "rhel"}, {"redhat", "rhel"},
	{"rhel", "rhel"}, {"oraclelinux", "ol"}, {"suselinuxenterprise", "sles"}, {"suseenterprise", "sles"}, {"suse", "sles"},
	{"opensuse", "opensuse"}, {"centos", "centos"}, {"debian", "debian"}, {"ubuntu", "ubuntu"}, {"fedora", "fedora"},
	{"openeuler", "openeuler"}, {"euleros", "euleros"}, {"rocky", "rocky"}, {"almalinux", "almalinux"}, {"alma", "almalinux"},
	{"neokylin", "neokylin"}, {"kylin", "kylin"}, {"coreos", "coreos"}, {"amazonlinux", "amzn"}, {"alpine", "alpine"},
	{"archlinux", "arch"}, {"windows", "windows"}, {"uos", "uos"}, {"unionos", "uos"}, {"anolis", "anolis"}, {"opencloudos", "opencloudos"},
}

var (
	bitsPattern    = regexp.MustCompile(`(?i)\s*\(?(32|64)\s*-?bits?\)?`)
	spacedDot      = regexp.MustCompile(`\s+\.`)
	servicePattern = regexp.MustCompile(`(?i)\bSP\s?(\d+)|\bU(\d+)`)
)

func parseOSVersion(text string) osVersion {
	v := osVersion{text: text}
	if m := bitsPattern.FindStringSubmatch(text); m != nil {
		v.bits, _ = strconv.Atoi(m[1])
	}
	name := bitsPattern.ReplaceAllString(text, "")
	key := strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(name))
	for _, f := range families {
		if strings.HasPrefix(key, f.prefix) {
			v.family = f.id
			break
		}
	}
	if v.family == "windows" {
		v.words = strings.Fields(strings.ToLower(name))
		return v
	}
	v.version = numbers(servicePattern.ReplaceAllString(name, ".$1$2"))
	return v
}

// numbers returns the first dotted numbers of a text.
func numbers(text string) (list []int) {
	text = spacedDot.ReplaceAllString(text, ".")
	for _, part := range strings.Split(versionNumber.FindString(text), ".") {
		if n, err := strconv.Atoi(part); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// guestVersion is what the guest would be called.
func guestVersion(r *Report) osVersion {
	v := osVersion{family: r.OS.ID, version: numbers(r.OS.Version)}
	switch {
	case r.OS.ID == "windows":
		v.words = strings.Fields(strings.ToLower(r.OS.Name))
	case strings.HasPrefix(r.OS.ID, "opensuse"):
		v.family = "opensuse"
	case strings.HasPrefix(r.OS.ID, "sles"), r.OS.ID == "sled":
		v.family = "sles"
	case r.OS.ID == "centos" && strings.Contains(r.OS.Name+r.OS.Pretty, "Stream"):
		v.family = "centos-stream"
	}
	if exact := versionNumber.FindString(r.OS.Pretty); v.family == "ubuntu" && strings.HasPrefix(exact, r.OS.Version) {
		v.version = numbers(exact)
	}
	switch r.Architecture {
	case "x86_64", "aarch64":
		v.bits = 64
	case "i686", "arm":
		v.bits = 32
	}
	return v
}

const maxClosest = 5 // values that are not the guest's own

// MatchOSVersion finds the value of os_version, among those of list, that names
// the guest. Where none does, ok is false and closest has up to five values of
// the same system, the nearest version first. A nil list stands for OSVersions.
func MatchOSVersion(r *Report, list []string) (best string, ok bool, closest []string) {
	if list == nil {
		list = OSVersions()
	}
	guest := guestVersion(r)
	var same []osVersion
	score := 0
	for _, text := range list {
		v := parseOSVersion(text)
		if v.family == "" || v.family != guest.family || v.bits != 0 && guest.bits != 0 && v.bits != guest.bits {
			continue
		}
		same = append(same, v)
		if s := guest.score(v); s > score {
			best, ok, score = text, true, s
		}
	}
	slices.SortStableFunc(same, func(a, b osVersion) int { return slices.Compare(guest.distance(a), guest.distance(b)) })
	for _, v := range same[:min(len(same), maxClosest)] {
		closest = append(closest, v.text)
	}
	return best, ok, closest
}

// score says how exactly a value names the guest, 0 if it does not.
func (guest osVersion) score(v osVersion) int {
	if guest.family == "windows" {
		return guest.windowsScore(v)
	}
	common := 0
	for common < min(len(v.version), len(guest.version)) && v.version[common] == guest.version[common] {
		common++
	}
	switch {
	case common == 0:
		return 0
	case common < len(v.version) && (common < len(guest.version) || slices.ContainsFunc(v.version[common:], func(n int) bool { return n != 0 })):
		return 0 // another version, or one more exact than the guest's
	case common < len(guest.version) && common < 2 && slices.ContainsFunc(guest.version[common:], func(n int) bool { return n != 0 }):
		return 0 // only the first number agrees
	}
	return common
}

// windowsScore takes the value with the most words of the product's name.
func (guest osVersion) windowsScore(v osVersion) int {
	if slices.Contains(v.words, "r2") != slices.Contains(guest.words, "r2") || slices.Contains(v.words, "server") != slices.Contains(guest.words, "server") {
		return 0
	}
	for _, w := range v.words {
		if !slices.Contains(guest.words, w) {
			return 0
		}
	}
	return len(v.words)
}

// distance is smaller the nearer a version is, an older one before a newer one.
func (guest osVersion) distance(v osVersion) []int {
	if guest.family == "windows" {
		n := 0
		for _, w := range v.words {
			if !slices.Contains(guest.words, w) {
				n++
			}
		}
		return []int{boolInt(slices.Contains(v.words, "server") != slices.Contains(guest.words, "server")), n}
	}
	var d []int
	for i := range 3 {
		a, b := at(guest.version, i), at(v.version, i)
		d = append(d, max(a-b, b-a)*2+boolInt(b > a))
	}
	return d
}

func at(list []int, i int) int {
	if i < len(list) {
		return list[i]
	}
	return 0
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// contradicts says how a value of os_version contradicts the guest, "" if it does
// not.
func (r *Report) contradicts(value string) string {
	guest, v := guestVersion(r), parseOSVersion(value)
	switch {
	case v.family == "" || guest.family == "":
		return ""
	case v.family != guest.family:
		return "another system"
	case v.bits != 0 && guest.bits != 0 && v.bits != guest.bits:
		return "a system of " + strconv.Itoa(v.bits) + " bits"
	case guest.family == "windows":
		if guest.windowsScore(v) == 0 {
			return "another version"
		}
		return ""
	}
	for i := range min(2, len(v.version), len(guest.version)) {
		if v.version[i] != guest.version[i] {
			return "another version"
		}
	}
	return ""
}
