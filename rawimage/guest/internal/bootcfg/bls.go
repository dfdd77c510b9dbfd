package bootcfg

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// blsEntries reads entries of the Boot Loader Specification.
func blsEntries(t *vfs.Tree, dir string) (list []Entry) {
	files, _ := t.ReadDir(dir)
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), ".conf")
		if !ok || len(list) == maxEntries {
			continue
		}
		if e, ok := blsEntry(t, path.Join(dir, f.Name()), id); ok {
			list = append(list, e)
		}
	}
	return list
}

func blsEntry(t *vfs.Tree, name, id string) (Entry, bool) {
	lines, ok := readLines(t, name)
	if !ok {
		return Entry{}, false
	}
	e := Entry{ID: id, Path: name}
	for i, line := range lines {
		key, rest := word(line)
		switch key {
		case "title":
			e.Title = rest
		case "version":
			e.version = rest
		case "sort-key":
			e.sortKey = rest
		case "linux":
			e.Kernel = rest
		case "initrd":
			e.Initrd = append(e.Initrd, strings.Fields(rest)...)
		case "options":
			e.Options = strings.TrimSpace(e.Options + " " + rest)
			e.Line = i + 1
		}
	}
	return e, e.Kernel != ""
}

// sdBootInstalled reports whether systemd-boot is on the EFI system partition.
func sdBootInstalled(t *vfs.Tree, esp []string) bool {
	return slices.ContainsFunc(esp, func(dir string) bool {
		return exists(t, path.Join(dir, "EFI/systemd")) && exists(t, path.Join(dir, "loader/loader.conf"))
	})
}

// systemdBoot reads loader.conf and the entries on the EFI system partition or an
// extended boot partition.
func systemdBoot(t *vfs.Tree, esp []string) *Config {
	c := &Config{Loader: SystemdBoot}
	for _, dir := range esp {
		if lines, ok := readLines(t, path.Join(dir, "loader/loader.conf")); ok && c.Path == "" {
			c.Path = path.Join(dir, "loader/loader.conf")
			for _, line := range lines {
				if key, rest := word(line); key == "default" {
					c.Wanted = rest
				}
			}
		}
		c.Entries = append(c.Entries, blsEntries(t, path.Join(dir, "loader/entries"))...)
	}
	if len(c.Entries) == 0 {
		return nil
	}
	if c.Path == "" {
		c.Path = c.Entries[0].Path
	}
	// With a sort-key entries are in its order, the newest version first; those
	// without one come after.
	slices.SortStableFunc(c.Entries, func(a, b Entry) int {
		return cmp.Or(boolCompare(a.sortKey == "", b.sortKey == ""), strings.Compare(a.sortKey, b.sortKey),
			-CompareVersions(a.version, b.version), -CompareVersions(a.ID, b.ID))
	})
	for i, e := range c.Entries {
		ok, err := path.Match(strings.ToLower(c.Wanted), strings.ToLower(e.ID+".conf"))
		if ok && err == nil || c.Wanted != "" && strings.EqualFold(c.Wanted, e.ID) {
			c.Default = i
			break
		}
	}
	return c
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// CompareVersions compares as rpm does: runs of digits as numbers, runs of letters
// as text, "~" before anything.
func CompareVersions(a, b string) int {
	for a != "" || b != "" {
		a, b = strings.TrimLeft(a, ".-_+^"), strings.TrimLeft(b, ".-_+^")
		if c := boolCompare(!strings.HasPrefix(a, "~"), !strings.HasPrefix(b, "~")); c != 0 {
			return c
		}
		a, b = strings.TrimPrefix(a, "~"), strings.TrimPrefix(b, "~")
		if a == "" || b == "" {
			break
		}
		var x, y string
		digits := isDigit(a[0])
		x, a = run(a, digits)
		y, b = run(b, digits)
		if y == "" { // of another kind: digits are newer
			return boolCompare(digits, !digits)
		}
		if digits {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func run(s string, digits bool) (head, tail string) {
	n := 0
	for n < len(s) && (digits && isDigit(s[n]) || !digits && isAlpha(s[n])) {
		n++
	}
	if n == 0 && len(s) > 0 && !isDigit(s[0]) && !isAlpha(s[0]) {
		n = 1 // a character that is neither separates
		return s[:n], s[n:]
	}
	return s[:n], s[n:]
}
