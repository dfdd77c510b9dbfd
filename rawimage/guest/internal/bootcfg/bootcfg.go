// Package bootcfg finds the kernel that a guest's boot loader starts by default:
// GRUB 2 with and without BLS entries, GRUB legacy, systemd-boot and extlinux.
package bootcfg

import (
	"path"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// Boot loaders.
const (
	GRUB2       = "GRUB 2"
	GRUBLegacy  = "GRUB legacy"
	SystemdBoot = "systemd-boot"
	Extlinux    = "extlinux"
)

const (
	maxFile    = 4 << 20 // of a configuration
	maxEntries = 1024
)

// Entry is one kernel of a boot menu.
type Entry struct {
	ID, Title string
	Kernel    string   // as the boot loader has it
	Initrd    []string // the same
	Options   string   // command line
	Path      string   // of the file that has the command line
	Line      int      // where in it
	version   string   // of BLS entries, for sorting
	sortKey   string
	submenu   string // title of the menu that it is in
	number    string // "2" or "1>0"
	FSUUID    string // of the file system that the paths are on, if it is named
}

// Config is a boot loader's configuration.
type Config struct {
	Loader  string
	Path    string
	Entries []Entry
	Default int    // index of the entry that boots
	Wanted  string // what the configuration calls the default; "" if it names none
}

// Entry returns the entry that boots, nil if there is none.
func (c *Config) Entry() *Entry {
	if c.Default < 0 || c.Default >= len(c.Entries) {
		return nil
	}
	return &c.Entries[c.Default]
}

// Find finds the configuration that the boot loader reads, nil if there is none.
// With efi, one on the EFI system partition comes first.
func Find(t *vfs.Tree, efi bool) *Config {
	var candidates []func() *Config
	esp := []string{"boot/efi", "efi", "boot"}
	onESP := func() *Config { return grubOnESP(t, esp) }
	sdBoot := func() *Config { return systemdBoot(t, esp) }
	if efi {
		candidates = append(candidates, onESP)
		if sdBootInstalled(t, esp) {
			candidates = append(candidates, sdBoot)
		}
	}
	for _, p := range []string{"boot/grub2/grub.cfg", "boot/grub/grub.cfg"} {
		candidates = append(candidates, func() *Config { return grub2(t, p) })
	}
	for _, p := range []string{"boot/grub/grub.conf", "boot/grub/menu.lst", "boot/efi/EFI/redhat/grub.conf"} {
		candidates = append(candidates, func() *Config { return grubLegacy(t, p) })
	}
	candidates = append(candidates, sdBoot)
	for _, p := range []string{"boot/extlinux/extlinux.conf", "boot/extlinux.conf", "boot/syslinux/syslinux.cfg",
		"extlinux.conf", "boot/syslinux.cfg", "syslinux.cfg"} {
		candidates = append(candidates, func() *Config { return extlinux(t, p) })
	}
	candidates = append(candidates, onESP)
	for _, c := range candidates {
		if found := c(); found != nil && len(found.Entries) > 0 {
			return found
		}
	}
	return nil
}

func readLines(t *vfs.Tree, name string) ([]string, bool) {
	p, err := t.ReadSmall(name, maxFile)
	if err != nil {
		return nil, false
	}
	return strings.Split(strings.ReplaceAll(string(p), "\r\n", "\n"), "\n"), true
}

// word cuts the first word off a line.
func word(line string) (first, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimLeft(line[i:], " \t=")
}

func exists(t *vfs.Tree, name string) bool {
	_, err := t.Stat(strings.Trim(path.Clean("/"+name), "/"))
	return err == nil
}

// grubLegacy reads menu.lst or grub.conf.
func grubLegacy(t *vfs.Tree, name string) *Config {
	lines, ok := readLines(t, name)
	if !ok {
		return nil
	}
	c := &Config{Loader: GRUBLegacy, Path: name, Wanted: "0"}
	for i, line := range lines {
		key, rest := word(line)
		if key == "title" && len(c.Entries) < maxEntries {
			c.Entries = append(c.Entries, Entry{Title: rest, Path: name, Line: i + 1})
			continue
		}
		if len(c.Entries) == 0 {
			if key == "default" {
				c.Wanted = rest
			}
			continue
		}
		e := &c.Entries[len(c.Entries)-1]
		switch key {
		case "kernel":
			for strings.HasPrefix(rest, "--") {
				_, rest = word(rest)
			}
			e.Kernel, e.Options, _ = strings.Cut(rest, " ")
			e.Line = i + 1
		case "initrd":
			e.Initrd = strings.Fields(rest)
		case "uuid":
			e.FSUUID = rest
		}
	}
	wanted := c.Wanted
	if wanted == "saved" {
		wanted = "0"
		if saved, ok := readLines(t, path.Join(path.Dir(name), "default")); ok {
			wanted = strings.TrimSpace(saved[0])
		}
	}
	c.Default = number(wanted, len(c.Entries))
	return c
}

// number parses an index below n, 0 for any other.
func number(s string, n int) int {
	i := 0
	for _, d := range s {
		if d < '0' || d > '9' || i > n {
			return 0
		}
		i = i*10 + int(d-'0')
	}
	if i >= n {
		return 0
	}
	return i
}

// extlinux reads a configuration of SYSLINUX or EXTLINUX.
func extlinux(t *vfs.Tree, name string) *Config {
	lines, ok := readLines(t, name)
	if !ok {
		return nil
	}
	c := &Config{Loader: Extlinux, Path: name}
	menuDefault := -1
	for i, line := range lines {
		key, rest := word(line)
		key = strings.ToLower(key)
		if key == "label" && len(c.Entries) < maxEntries {
			c.Entries = append(c.Entries, Entry{ID: rest, Title: rest, Path: name, Line: i + 1})
			continue
		}
		if len(c.Entries) == 0 {
			if key == "default" || key == "ontimeout" {
				c.Wanted = rest
			}
			continue
		}
		switch key {
		case "default", "ontimeout":
			c.Wanted = rest
		default:
			if c.Entries[len(c.Entries)-1].extlinux(key, rest, i+1) {
				menuDefault = len(c.Entries) - 1
			}
		}
	}
	c.Default = max(menuDefault, 0)
	for i, e := range c.Entries {
		if e.ID == c.Wanted {
			c.Default = i
		}
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		e.Kernel = relative(name, e.Kernel)
		for k := range e.Initrd {
			e.Initrd[k] = relative(name, e.Initrd[k])
		}
	}
	return c
}

// extlinux takes a setting of an entry, and reports whether it makes the entry the
// default.
func (e *Entry) extlinux(key, rest string, line int) bool {
	switch key {
	case "kernel", "linux":
		e.Kernel = rest
	case "initrd":
		e.Initrd = strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == ' ' })
	case "append":
		e.Options, e.Line = rest, line
		for _, f := range strings.Fields(rest) {
			if v, ok := strings.CutPrefix(f, "initrd="); ok && len(e.Initrd) == 0 {
				e.Initrd = strings.Split(v, ",")
			}
		}
	case "menu":
		switch sub, rest := word(rest); strings.ToLower(sub) {
		case "default":
			return true
		case "label":
			e.Title = rest
		}
	}
	return false
}

// relative makes a path relative to a configuration's directory absolute.
func relative(config, p string) string {
	if p == "" || strings.HasPrefix(p, "/") {
		return p
	}
	return path.Join("/", path.Dir(config), p)
}
