package bootcfg

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	maxCommands = 200000 // of one script, those of skipped branches included
	maxNest     = 24     // blocks and files in one another
	maxSources  = 64     // scripts that are read
	maxValue    = 64 << 10
	maxExpanded = 32 << 20 // of all variables that are replaced
)

// grubOnESP reads a configuration on the EFI system partition. One that only
// leads to another is not the one looked for.
func grubOnESP(t *vfs.Tree, esp []string) *Config {
	for _, root := range esp {
		dirs, _ := t.ReadDir(path.Join(root, "EFI"))
		for _, d := range dirs {
			if c := grub2(t, path.Join(root, "EFI", d.Name(), "grub.cfg")); c != nil && len(c.Entries) > 0 {
				return c
			}
		}
	}
	return nil
}

// grub2 runs a script of GRUB 2 as far as it decides what is booted.
func grub2(t *vfs.Tree, name string) *Config {
	text, err := t.ReadSmall(name, maxFile)
	if err != nil {
		return nil
	}
	g := &grub{tree: t, vars: map[string]string{
		"prefix": "/" + path.Dir(name), "config_directory": "/" + path.Dir(name), "grub_platform": "pc", "grub_cpu": "x86_64",
		"feature_menuentry_id": "y", "feature_timeout_style": "y", "feature_default_font_path": "y",
	}}
	if strings.Contains(name, "/EFI/") {
		g.vars["grub_platform"] = "efi"
	}
	g.script(name, string(text), 0)
	c := &Config{Loader: GRUB2, Path: name, Entries: g.entries, Wanted: g.vars["default"]}
	c.Default = g.choose(c.Wanted)
	return c
}

// grub interprets a script.
type grub struct {
	tree    *vfs.Tree
	vars    map[string]string
	entries []Entry
	menus   []string // titles of the submenus around
	numbers []int    // of the next entry, at each level
	current *Entry
	budget  int // commands so far
	sources int
	output  int // bytes that variables were replaced by
}

// command is a line's words, after variables were replaced in them.
type command struct {
	words []string
	raw   []string // with variables in place
	line  int
}

// script runs a file.
func (g *grub) script(name, text string, depth int) {
	if depth > maxNest {
		return
	}
	if g.numbers == nil {
		g.numbers = []int{0}
	}
	p := &grubParser{text: text, line: 1}
	g.block(p, name, true, depth, "")
}

// block runs or skips commands up to the end of the block, and returns the word
// that ended it: one of ends (separated by spaces), or "" at the end of the file.
func (g *grub) block(p *grubParser, name string, active bool, depth int, ends string) string {
	if depth > maxNest {
		p.text = ""
		return ""
	}
	for {
		c, ok := p.next()
		if g.budget++; !ok || g.budget > maxCommands {
			return ""
		}
		if slices.Contains(strings.Fields(ends), c.raw[0]) {
			return c.raw[0]
		}
		switch c.raw[0] {
		case "if":
			g.conditional(p, c, name, active, depth)
		case "while", "until", "for":
			g.block(p, name, false, depth+1, "done")
		case "function":
			g.block(p, name, false, depth+1, "}")
		case "menuentry", "submenu":
			g.menu(p, c, name, active, depth)
		case "then", "do", "{":
		default:
			if active {
				g.command(c, name, depth)
			}
		}
	}
}

// conditional runs the branch whose condition holds. What a command returns is
// not known; only tests are evaluated.
func (g *grub) conditional(p *grubParser, c command, name string, active bool, depth int) {
	done := false
	for {
		g.expand(&c)
		holds := active && !done && g.test(c.words[min(1, len(c.words)):])
		done = done || holds
		end := g.block(p, name, holds, depth+1, "elif else fi")
		if end == "else" {
			g.block(p, name, active && !done, depth+1, "fi")
			return
		}
		if end != "elif" {
			return
		}
		c = p.last
	}
}

// menu takes a menu entry or submenu.
func (g *grub) menu(p *grubParser, c command, name string, active bool, depth int) {
	g.expand(&c)
	e := Entry{Path: name, Line: c.line}
	for i := 1; i < len(c.words); i++ {
		switch w := c.words[i]; {
		case w == "{":
		case w == "--id" && i+1 < len(c.words):
			i++
			e.ID = c.words[i]
		case strings.HasPrefix(w, "--id="):
			e.ID = w[5:]
		case (w == "--class" || w == "--users" || w == "--hotkey") && i+1 < len(c.words):
			i++
		case strings.HasPrefix(w, "--"), w == "":
		case e.Title == "":
			e.Title = w
		}
	}
	if !active || len(g.entries) >= maxEntries {
		g.block(p, name, false, depth+1, "}")
		return
	}
	level := len(g.numbers) - 1
	e.number, e.submenu = g.position(), strings.Join(g.menus, ">")
	g.numbers[level]++
	if c.raw[0] == "submenu" {
		key := e.Title
		if e.ID != "" {
			key = e.ID
		}
		g.menus, g.numbers = append(g.menus, key), append(g.numbers, 0)
		g.block(p, name, true, depth+1, "}")
		g.menus, g.numbers = g.menus[:level], g.numbers[:level+1]
		return
	}
	saved := g.current
	g.current = &e
	root := g.vars["root"]
	g.block(p, name, true, depth+1, "}")
	g.vars["root"], g.current = root, saved
	g.entries = append(g.entries, e) // one without a kernel too: it has its place in the menu
}

func (g *grub) position() string {
	var parts []string
	for i, n := range g.numbers {
		if i < len(g.numbers)-1 {
			n--
		}
		parts = append(parts, fmt.Sprint(n))
	}
	return strings.Join(parts, ">")
}

// command runs a command that matters.
func (g *grub) command(c command, name string, depth int) {
	g.expand(&c)
	args := c.words[1:]
	if key, value, ok := strings.Cut(c.words[0], "="); ok && len(c.words) == 1 {
		g.set(key, value)
		return
	}
	switch c.words[0] {
	case "set":
		for _, a := range args {
			if key, value, ok := strings.Cut(a, "="); ok {
				g.set(key, value)
			}
		}
	case "unset":
		for _, a := range args {
			delete(g.vars, a)
		}
	case "load_env":
		g.loadEnv(args)
	case "search", "search.fs_uuid":
		g.search(c.words)
	case "source", ".", "configfile":
		if len(args) > 0 {
			g.source(args[len(args)-1], depth)
		}
	case "blscfg":
		g.bls()
	case "linux", "linux16", "linuxefi":
		if e := g.current; e != nil && len(args) > 0 {
			e.Kernel, e.Options = args[0], strings.Join(args[1:], " ")
			e.Path, e.Line, e.FSUUID = name, c.line, g.vars["root"]
		}
	case "initrd", "initrd16", "initrdefi":
		if g.current != nil {
			g.current.Initrd = args
		}
	}
}

func (g *grub) search(words []string) {
	if !slices.ContainsFunc(words, func(w string) bool { return w == "--fs-uuid" || w == "-u" }) && words[0] != "search.fs_uuid" {
		return
	}
	variable := "root"
	id := ""
	for i := 1; i < len(words); i++ {
		w := words[i]
		switch {
		case strings.HasPrefix(w, "--set="):
			variable = w[6:]
		case !strings.HasPrefix(w, "-") && id == "" && (strings.Contains(w, "-") || len(w) >= 8):
			id = w
		}
	}
	g.vars[variable] = id
}

// source runs another script, unless it is the one that is running.
func (g *grub) source(file string, depth int) {
	if g.sources++; g.sources > maxSources {
		return
	}
	p := g.path(file)
	text, err := g.tree.ReadSmall(p, maxFile)
	if err == nil {
		g.script(p, string(text), depth+1)
	}
}

// path turns a file name of GRUB, which may begin with a device and is relative
// to the file system that /boot is on, into one of the guest.
func (g *grub) path(file string) string {
	if strings.HasPrefix(file, "(") {
		if _, rest, ok := strings.Cut(file, ")"); ok {
			file = rest
		}
	}
	if !strings.HasPrefix(file, "/") {
		// The value of $root is only known as an identifier here.
		if i := strings.Index(file, "/"); i >= 0 {
			file = file[i:]
		}
	}
	file = strings.Trim(path.Clean("/"+file), "/")
	if !exists(g.tree, file) && exists(g.tree, "boot/"+file) {
		return "boot/" + file
	}
	return file
}

// loadEnv reads variables from a block of environment.
func (g *grub) loadEnv(args []string) {
	file := g.vars["prefix"] + "/grubenv"
	for i, a := range args {
		if (a == "-f" || a == "--file") && i+1 < len(args) {
			file = args[i+1]
		} else if v, ok := strings.CutPrefix(a, "--file="); ok {
			file = v
		}
	}
	lines, _ := readLines(g.tree, g.path(file))
	for _, line := range lines[:min(len(lines), 4096)] {
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			g.set(key, value)
		}
	}
}

func (g *grub) set(name, value string) {
	if len(g.vars) < 4096 && len(value) <= maxValue {
		g.vars[name] = value
	}
}

// bls adds entries of the Boot Loader Specification, the newest first.
func (g *grub) bls() {
	list := blsEntries(g.tree, "boot/loader/entries")
	slices.SortStableFunc(list, func(a, b Entry) int { return -CompareVersions(a.ID, b.ID) })
	for _, e := range list {
		e.Options = g.replace(e.Options)
		e.Initrd = strings.Fields(g.replace(strings.Join(e.Initrd, " ")))
		e.number = g.position()
		g.numbers[len(g.numbers)-1]++
		g.entries = append(g.entries, e)
	}
}

// choose returns the index of the entry that a value of $default means: number,
// identifier or title, each level of submenus after a ">". GRUB takes the first
// entry for any other.
func (g *grub) choose(wanted string) int {
	for range 2 {
		for i, e := range g.entries {
			if e.is(wanted) {
				return i
			}
		}
		// A submenu stands for its first entry.
		wanted += ">0"
	}
	return 0
}

func (e *Entry) is(wanted string) bool {
	menu, name := "", wanted
	if i := strings.LastIndex(wanted, ">"); i >= 0 {
		menu, name = wanted[:i], wanted[i+1:]
	}
	last := e.number[strings.LastIndex(e.number, ">")+1:]
	outer := strings.TrimSuffix(strings.TrimSuffix(e.number, last), ">")
	if menu != e.submenu && menu != outer {
		return false
	}
	return name == last || name == e.ID && name != "" || name == e.Title && name != ""
}
