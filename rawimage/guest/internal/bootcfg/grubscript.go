package bootcfg

import (
	"strings"
)

// grubParser cuts a script into commands.
type grubParser struct {
	text string
	line int
	last command // that next returned

	closes bool // a brace was read with the command before it
}

// next returns the next command with at least one word.
func (p *grubParser) next() (command, bool) {
	if p.closes {
		p.closes = false
		p.last = command{raw: []string{"}"}, line: p.line}
		return p.last, true
	}
	c := command{}
	for {
		w, quoted, sep := p.word()
		if w == "}" && !quoted && len(c.raw) > 0 { // closes the block that the command is in
			p.closes = true
			p.last = c
			return c, true
		}
		if w != "" || quoted {
			if len(c.raw) == 0 {
				c.line = p.line
			}
			c.raw = append(c.raw, w)
		}
		// A brace that opens or closes a block stands alone, as keywords do.
		alone := !quoted && (w == "{" || w == "}") && len(c.raw) == 1
		opens := !quoted && w == "{" && len(c.raw) > 1
		keyword := !quoted && len(c.raw) == 1 && (w == "then" || w == "else" || w == "do" || w == "fi" || w == "done")
		if (sep || alone || opens || keyword) && len(c.raw) > 0 {
			p.last = c
			return c, true
		}
		if p.text == "" {
			p.last = c
			return c, len(c.raw) > 0
		}
	}
}

// word returns the next word with its quotes, so that variables can be told from
// text, and whether the command ends after it.
func (p *grubParser) word() (w string, quoted, sep bool) {
	var b strings.Builder
	for i := 0; i < len(p.text); i++ {
		switch c := p.text[i]; c {
		case '\\':
			if i+1 < len(p.text) && p.text[i+1] == '\n' {
				i++
				p.line++
				continue
			}
			b.WriteByte(c)
			if i+1 < len(p.text) {
				i++
				b.WriteByte(p.text[i])
			}
		case '\'', '"':
			quoted = true
			end := closing(p.text[i+1:], c)
			b.WriteString(p.text[i : i+1+end])
			p.line += strings.Count(p.text[i:i+1+end], "\n")
			b.WriteByte(c)
			i += end + 1
		case '#':
			if b.Len() > 0 || quoted {
				b.WriteByte(c)
				continue
			}
			for i < len(p.text) && p.text[i] != '\n' {
				i++
			}
			i--
		case ' ', '\t', '\r':
			if b.Len() > 0 || quoted {
				p.text = p.text[i+1:]
				return b.String(), quoted, false
			}
		case '\n', ';':
			w, quoted := b.String(), quoted
			if w != "" || c == ';' {
				// The newline is read again, so that the line is counted after the word.
				p.text = p.text[i:]
				if c == ';' {
					p.text = p.text[1:]
				}
				return w, quoted, true
			}
			p.line++
			p.text = p.text[i+1:]
			return "", false, true
		default:
			b.WriteByte(c)
		}
	}
	p.text = ""
	return b.String(), quoted, true
}

// closing returns where a quotation ends.
func closing(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && quote == '"' {
			i++
		} else if s[i] == quote {
			return i
		}
	}
	return len(s)
}

// expand replaces variables and takes quotes off.
func (g *grub) expand(c *command) {
	c.words = nil
	for _, w := range c.raw {
		v := g.unquote(w)
		if strings.HasPrefix(w, "$") && strings.Contains(v, " ") { // not quoted: splits into words
			c.words = append(c.words, strings.Fields(v)...)
			continue
		}
		if v != "" || !strings.HasPrefix(w, "$") {
			c.words = append(c.words, v)
		}
	}
	if len(c.words) == 0 {
		c.words = []string{""}
	}
}

func (g *grub) unquote(w string) string {
	var b strings.Builder
	for i := 0; i < len(w); i++ {
		switch c := w[i]; c {
		case '\'':
			end := closing(w[i+1:], c)
			b.WriteString(w[i+1 : i+1+end])
			i += end + 1
		case '"':
			end := closing(w[i+1:], c)
			b.WriteString(g.replace(w[i+1 : i+1+end]))
			i += end + 1
		case '\\':
			if i+1 < len(w) {
				i++
				b.WriteByte(w[i])
			}
		default:
			j := i
			for j < len(w) && !strings.ContainsRune("'\"\\", rune(w[j])) {
				j++
			}
			b.WriteString(g.replace(w[i:j]))
			i = j - 1
		}
		if b.Len() > maxValue {
			break
		}
	}
	return b.String()
}

// replace replaces $name and ${name}.
func (g *grub) replace(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "$")
		b.WriteString(before)
		if g.output += b.Len(); !ok || b.Len() > maxValue || g.output > maxExpanded {
			return b.String()
		}
		name := ""
		if inner, found := strings.CutPrefix(rest, "{"); found {
			name, s, _ = strings.Cut(inner, "}")
		} else {
			n := 0
			for n < len(rest) && (isDigit(rest[n]) || isAlpha(rest[n]) || rest[n] == '_') {
				n++
			}
			name, s = rest[:n], rest[n:]
		}
		b.WriteString(g.vars[name])
	}
}

// test evaluates "[ ... ]" or "test ...". Any other command is taken to fail.
func (g *grub) test(words []string) bool {
	if len(words) == 0 {
		return false
	}
	negate := false
	for len(words) > 1 && words[0] == "!" {
		negate, words = !negate, words[1:]
	}
	switch words[0] {
	case "[":
		words = words[1:]
		if k := len(words); k > 0 && words[k-1] == "]" {
			words = words[:k-1]
		}
	case "test":
		words = words[1:]
	case "true":
		return !negate
	default:
		return negate
	}
	return g.or(words) != negate
}

func (g *grub) or(words []string) bool {
	for i, w := range words {
		if w == "-o" {
			return g.and(words[:i]) || g.or(words[i+1:])
		}
	}
	return g.and(words)
}

func (g *grub) and(words []string) bool {
	for i, w := range words {
		if w == "-a" {
			return g.primary(words[:i]) && g.and(words[i+1:])
		}
	}
	return g.primary(words)
}

func (g *grub) primary(words []string) bool {
	if len(words) > 0 && words[0] == "!" {
		return !g.primary(words[1:])
	}
	switch len(words) {
	case 1:
		return words[0] != ""
	case 2:
		switch words[0] {
		case "-n":
			return words[1] != ""
		case "-z":
			return words[1] == ""
		case "-s", "-f", "-e", "-d":
			i, err := g.tree.Stat(g.path(words[1]))
			return err == nil && (words[0] != "-s" || i.Size() > 0)
		}
	case 3:
		switch words[1] {
		case "=", "==":
			return words[0] == words[2]
		case "!=":
			return words[0] != words[2]
		}
	}
	return false
}
