// Package manifest reads the file that describes several images to import:
//
//	defaults:               # of all images below; every key but source and name
//	  bucket: images
//	  os_version: Debian GNU/Linux 12 64bit
//	images:
//	  - source: web.qcow2   # a path relative to the manifest, or a URL
//	    name: web-1
//	    min_disk: 40GiB
//	    tags: [team.web]
//
// Everything that is wrong is reported at once, each problem with its line.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Entry is an image of a manifest.
type Entry struct {
	Line   int             // at which it begins
	lines  map[string]int  // of its keys
	from   map[string]bool // keys that the defaults gave
	Source string
	Values map[string]string   // of the keys that are text, with the defaults
	Lists  map[string][]string // of tags and image_tags (key=value)
	Flags  map[string]bool     // of the keys that are true or false
}

// Has reports whether the entry, or the defaults, have a key.
func (e *Entry) Has(key string) bool {
	_, ok := e.lines[key]
	return ok
}

// Inherited reports whether a key is from the defaults.
func (e *Entry) Inherited(key string) bool { return e.from[key] }

// LineOf returns the line of a key: its own, that of the defaults, or that at
// which the entry begins.
func (e *Entry) LineOf(key string) int {
	if line, ok := e.lines[key]; ok {
		return line
	}
	return e.Line
}

// Problem is something wrong with a manifest.
type Problem struct {
	Line int    // counted from 1
	Text string // what is wrong, and what is expected
}

// String is a problem as a line.
func (p Problem) String() string { return fmt.Sprintf("line %d: %s", p.Line, p.Text) }

// Error holds all problems of a manifest.
type Error struct{ Problems []Problem }

// Error implements error.
func (e *Error) Error() string {
	text := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		text[i] = p.String()
	}
	return "manifest: " + strings.Join(text, "; ")
}

// Limits of a manifest.
const (
	MaxSize   = 8 << 20 // bytes
	maxImages = 10000
)

type kind int

const (
	text  kind = iota
	list       // of text
	pairs      // a mapping of text
	boolean
)

// keys are those of an entry.
var keys = map[string]kind{
	"source": text, "name": text, "description": text, "os_version": text, "os_type": text, "type": text,
	"bucket": text, "key": text, "min_disk": text, "enterprise_project": text, "architecture": text, "firmware": text, "license": text,
	"format": text, "level": text, "mf": text, "mf_layout": text,
	"source_format": text, "references": text, "member": text, "size": text,
	"tags": list, "image_tags": pairs,
	"all_disks": boolean, "overwrite": boolean, "delete_object": boolean,
}

// own are the keys that make no sense as a default.
var own = []string{"source", "name", "key", "member", "mf"}

// Parse reads a manifest. Its error is an [*Error]; the entries are there all the
// same as far as they could be read, so that their values can be checked too.
func Parse(data []byte) ([]*Entry, error) {
	p := &parser{}
	entries := p.document(data)
	if len(p.problems) > 0 {
		slices.SortStableFunc(p.problems, func(a, b Problem) int { return a.Line - b.Line })
		return entries, &Error{p.problems}
	}
	return entries, nil
}

type parser struct{ problems []Problem }

func (p *parser) problem(line int, format string, args ...any) {
	p.problems = append(p.problems, Problem{max(line, 1), fmt.Sprintf(format, args...)})
}

func (p *parser) document(data []byte) []*Entry {
	if len(data) > MaxSize {
		p.problem(1, "the file is larger than %d bytes", MaxSize)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		p.syntax(err)
		return nil
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		p.problem(second.Line, "a second document; put all images into one")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		p.problem(top.Line, "want a mapping with the keys defaults and images")
		return nil
	}
	var defaults, images *yaml.Node
	p.mapping(top, func(name string, key, value *yaml.Node) {
		switch name {
		case "defaults":
			defaults = value
		case "images":
			images = value
		default:
			p.problem(key.Line, "unknown key %q; want defaults or images", name)
		}
	})
	return p.images(top, images, p.defaults(defaults))
}

var lineNumber = regexp.MustCompile(`line (\d+): *`)

// syntax reports what the parser of YAML says, with its line.
func (p *parser) syntax(err error) {
	if errors.Is(err, io.EOF) {
		p.problem(1, "the file is empty")
		return
	}
	line, message := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := lineNumber.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.Replace(message, m[0], "", 1)
		// The parser of the YAML package, unlike its scanner, counts from 0.
		if strings.HasPrefix(message, "did not find expected") {
			line++
		}
	}
	p.problem(line, "not valid YAML: %s", message)
}

// mapping calls f for each key of a mapping; a key that is there twice is a
// problem.
func (p *parser) mapping(n *yaml.Node, f func(name string, key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			p.problem(key.Line, "a key must be text")
			continue
		}
		if first, twice := seen[key.Value]; twice {
			p.problem(key.Line, "%s is given twice, first in line %d", key.Value, first)
			continue
		}
		seen[key.Value] = key.Line
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		f(key.Value, key, value)
	}
}

// defaults reads the part of that name; nil is none.
func (p *parser) defaults(n *yaml.Node) *Entry {
	e := newEntry(1)
	if n == nil || n.Tag == "!!null" {
		return e
	}
	if n.Kind != yaml.MappingNode {
		p.problem(n.Line, "defaults: want a mapping")
		return e
	}
	p.mapping(n, func(name string, key, value *yaml.Node) {
		if slices.Contains(own, name) {
			p.problem(key.Line, "defaults: %s belongs to each image", name)
			return
		}
		p.set(e, name, key, value)
	})
	return e
}

func newEntry(line int) *Entry {
	return &Entry{Line: line, lines: map[string]int{}, from: map[string]bool{}, Values: map[string]string{}, Lists: map[string][]string{}, Flags: map[string]bool{}}
}

func (p *parser) images(top, n *yaml.Node, defaults *Entry) []*Entry {
	switch {
	case n == nil:
		p.problem(top.Line, "no images")
		return nil
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		p.problem(n.Line, "images: want a list of at least one image")
		return nil
	case len(n.Content) > maxImages:
		p.problem(n.Line, "images: %d images, at most %d", len(n.Content), maxImages)
		return nil
	}
	var all []*Entry
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		if item.Kind != yaml.MappingNode {
			p.problem(item.Line, "want an image with the keys source and name")
			continue
		}
		e := newEntry(item.Line)
		p.mapping(item, func(name string, key, value *yaml.Node) { p.set(e, name, key, value) })
		for _, name := range []string{"source", "name"} {
			if _, given := e.lines[name]; !given {
				p.problem(e.Line, "the image has no %s", name)
			}
		}
		e.inherit(defaults)
		e.Source = e.Values["source"]
		all = append(all, e)
	}
	return all
}

// inherit fills in the defaults.
func (e *Entry) inherit(d *Entry) {
	for name, line := range d.lines {
		if _, given := e.lines[name]; given {
			continue
		}
		e.lines[name], e.from[name] = line, true
		switch keys[name] {
		case text:
			e.Values[name] = d.Values[name]
		case boolean:
			e.Flags[name] = d.Flags[name]
		default:
			e.Lists[name] = d.Lists[name]
		}
	}
}

// set reads the value of a key.
func (p *parser) set(e *Entry, name string, key, value *yaml.Node) {
	k, known := keys[name]
	if !known {
		p.problem(key.Line, "unknown key %q%s", name, similar(name))
		return
	}
	e.lines[name] = key.Line
	switch k {
	case text:
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" || value.Value == "" {
			p.problem(key.Line, "%s: want text", name)
			return
		}
		e.Values[name] = value.Value
	case boolean:
		b, err := strconv.ParseBool(value.Value)
		if value.Kind != yaml.ScalarNode || value.Tag != "!!bool" || err != nil {
			p.problem(key.Line, "%s: want true or false", name)
			return
		}
		e.Flags[name] = b
	case list:
		e.Lists[name] = p.list(name, key, value)
	case pairs:
		e.Lists[name] = p.pairs(name, key, value)
	}
}

func (p *parser) list(name string, key, value *yaml.Node) (out []string) {
	if value.Kind != yaml.SequenceNode {
		p.problem(key.Line, "%s: want a list such as [key.value]", name)
		return nil
	}
	for _, v := range value.Content {
		if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
			p.problem(v.Line, "%s: want text", name)
			continue
		}
		out = append(out, v.Value)
	}
	return out
}

func (p *parser) pairs(name string, key, value *yaml.Node) (out []string) {
	if value.Kind != yaml.MappingNode {
		p.problem(key.Line, "%s: want a mapping such as {key: value}", name)
		return nil
	}
	p.mapping(value, func(k string, key, v *yaml.Node) {
		if v.Kind != yaml.ScalarNode {
			p.problem(key.Line, "%s: want text", name)
			return
		}
		out = append(out, k+"="+v.Value)
	})
	return out
}

// Keys are the names of all keys of an image.
func Keys() []string {
	var names []string
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// similar names the key that was probably meant.
func similar(name string) string {
	squeeze := strings.NewReplacer("-", "", "_", "", " ", "")
	for _, k := range Keys() {
		a, b := squeeze.Replace(strings.ToLower(name)), squeeze.Replace(k)
		if a == b || a == b+"s" || a+"s" == b {
			return fmt.Sprintf("; did you mean %s?", k)
		}
	}
	return ""
}
