package lvm

import (
	"strconv"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// section is a group of settings of LVM's text format:
//
//	name { key = value ... subsection { ... } }
//
// A value is an int64, a string or a list of them.
type section struct {
	values map[string]any
	subs   map[string]*section
	order  []string // names of subs
}

func (s *section) number(key string) int64 {
	n, _ := s.values[key].(int64)
	return n
}

func (s *section) text(key string) string {
	t, _ := s.values[key].(string)
	return t
}

func (s *section) list(key string) []any {
	l, _ := s.values[key].([]any)
	return l
}

// sub returns a subsection, an empty one if there is none.
func (s *section) sub(name string) *section {
	if c := s.subs[name]; c != nil {
		return c
	}
	return &section{}
}

func (s *section) has(key, flag string) bool {
	for _, v := range s.list(key) {
		if v == flag {
			return true
		}
	}
	return false
}

const (
	maxNesting = 8
	maxTokens  = 1 << 20
)

type parser struct {
	text   string
	tokens int
}

func parse(text string) (*section, error) {
	p := &parser{text: text}
	return p.section(0)
}

// next returns the next token: a name or number, a string with its opening
// quote, or one of {}[]=, "" at the end.
func (p *parser) next() string {
	for {
		p.text = strings.TrimLeft(p.text, " \t\r\n\x00")
		if !strings.HasPrefix(p.text, "#") {
			break
		}
		_, p.text, _ = strings.Cut(p.text, "\n")
	}
	p.tokens++
	if p.text == "" {
		return ""
	}
	n := 1
	switch c := p.text[0]; {
	case c == '"':
		for n < len(p.text) && p.text[n] != '"' {
			if p.text[n] == '\\' {
				n++
			}
			n++
		}
		t := p.text[:min(n, len(p.text))]
		p.text = p.text[min(n+1, len(p.text)):]
		return t
	case !strings.ContainsRune("{}[]=,", rune(c)):
		if n = strings.IndexAny(p.text, "{}[]=,\" \t\r\n#\x00"); n < 0 {
			n = len(p.text)
		}
	}
	t := p.text[:n]
	p.text = p.text[n:]
	return t
}

func (p *parser) section(depth int) (*section, error) {
	s := &section{values: map[string]any{}, subs: map[string]*section{}}
	for {
		if p.tokens > maxTokens || depth > maxNesting {
			return nil, vfs.Damaged("LVM metadata: too large or too deep")
		}
		name := p.next()
		if name == "" && depth == 0 || name == "}" && depth > 0 {
			return s, nil
		}
		switch p.next() {
		case "{":
			sub, err := p.section(depth + 1)
			if err != nil {
				return nil, err
			}
			if s.subs[name] == nil {
				s.order = append(s.order, name)
			}
			s.subs[name] = sub
		case "=":
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			s.values[name] = v
		default:
			return nil, vfs.Damaged("LVM metadata: syntax near %.40q", name)
		}
	}
}

func (p *parser) value() (any, error) {
	t := p.next()
	if t != "[" {
		return scalar(t)
	}
	list := []any{}
	for {
		switch t = p.next(); t {
		case "]":
			return list, nil
		case ",":
			continue
		}
		if p.tokens > maxTokens {
			return nil, vfs.Damaged("LVM metadata: too large")
		}
		v, err := scalar(t)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

func scalar(t string) (any, error) {
	if s, ok := strings.CutPrefix(t, "\""); ok {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s), nil
	}
	if n, err := strconv.ParseInt(t, 10, 64); err == nil {
		return n, nil
	}
	if f, err := strconv.ParseFloat(t, 64); err == nil {
		return int64(f), nil
	}
	return nil, vfs.Damaged("LVM metadata: value %.40q", t)
}
