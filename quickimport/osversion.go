package quickimport

import (
	"cmp"
	"context"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/internal/pkgerr"
)

// OSVersion is a value of os_version that a region offers.
type OSVersion struct {
	Name     string `json:"os_version"` // the value: "CentOS 7.0 64bit"
	Platform string `json:"platform"`   // "CentOS"
	OSType   OSType `json:"os_type"`    // OSLinux or OSWindows
	Bits     int    `json:"os_bit"`     // 32 or 64; 0 if the service does not say
}

// OSVersions lists what the region takes as os_version, in the service's order.
// arch limits it to an architecture; "" lists all.
func (c *Client) OSVersions(ctx context.Context, arch Architecture) ([]OSVersion, error) {
	q := url.Values{}
	if arch != "" && arch != ArchAuto {
		q.Set("tag", string(arch))
	}
	var answer any
	if err := c.get(ctx, "os versions", c.o.ims, "/v1/cloudimages/os_version", q, &answer); err != nil {
		return nil, err
	}
	platforms, ok := answer.([]any)
	if m := looseObject(answer); !ok && m != nil {
		platforms, _ = m["os_versions"].([]any)
	}
	var out []OSVersion
	for _, p := range platforms {
		platform := looseObject(p)
		list, _ := platform["version_list"].([]any)
		for _, e := range list {
			v := looseObject(e)
			if name := cmp.Or(looseText(v["os_version"]), looseText(v["os_version_key"])); name != "" {
				bits, _ := looseNumber(v["os_bit"])
				out = append(out, OSVersion{name, cmp.Or(looseText(v["platform"]), looseText(platform["platform"])), OSType(looseText(v["os_type"])), int(bits)})
			}
		}
	}
	if len(out) == 0 {
		return nil, pkg.Errorf("os versions: %w: an empty list", ErrProtocol)
	}
	return out, nil
}

// osVersionError is an os_version that the region does not offer.
type osVersionError struct{ closest []string }

func (e *osVersionError) Error() string { return string(pkg) + ": " + e.Text() }
func (e *osVersionError) Text() string  { return "is not among the values that the region offers" }
func (e *osVersionError) Unwrap() error { return ErrOSVersion }

// checkOSVersion compares os_version with the region's list. Not every account
// may read it: then it is left to the service.
func (im *importer) checkOSVersion(ctx context.Context) error {
	want := im.img.OSVersion
	if im.img.Type == TypeData || want == "" {
		return nil
	}
	offered, err := im.OSVersions(ctx, im.img.Architecture)
	if err != nil {
		im.o.logger.LogAttrs(ctx, slog.LevelInfo, "os_version was not checked", slog.String("reason", pkgerr.Text(err)))
		return nil
	}
	names := make([]string, len(offered))
	for i, v := range offered {
		names[i] = v.Name
	}
	if slices.Contains(names, want) {
		return nil
	}
	return &osVersionError{closest(want, names, 3)}
}

// closest returns the n names that are most like want: those that share most of
// its words, and of these the ones with the fewest differences.
func closest(want string, names []string, n int) []string {
	want = strings.ToLower(want)
	words := strings.Fields(want)
	type rank struct{ missing, distance int }
	ranks := map[string]rank{}
	for _, name := range names {
		lower := strings.ToLower(name)
		r := rank{distance: editDistance(want, lower)}
		for _, w := range words {
			if !strings.Contains(lower, w) {
				r.missing++
			}
		}
		ranks[name] = r
	}
	sorted := slices.SortedStableFunc(slices.Values(names), func(a, b string) int {
		return cmp.Or(cmp.Compare(ranks[a].missing, ranks[b].missing), cmp.Compare(ranks[a].distance, ranks[b].distance))
	})
	sorted = slices.Compact(sorted)
	return sorted[:min(n, len(sorted))]
}

// editDistance is Levenshtein's, of strings cut to 128 bytes.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 128)], b[:min(len(b), 128)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
