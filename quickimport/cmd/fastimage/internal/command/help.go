package command

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Headings of the flags in a help text, in the order in which they are shown.
const (
	topicImage  = "Image"
	topicCloud  = "Cloud"
	topicSource = "Source"
	topicUpload = "Upload"
	topicImport = "Import"
	topicOutput = "Output"
)

var topics = []string{topicImage, topicSource, topicUpload, topicImport, topicOutput, topicCloud, ""}

// topicKey is the annotation that holds a flag's topic.
const topicKey = "fastimage-topic"

// topic adds flags to cmd under a heading of its help text.
func topic(cmd *cobra.Command, heading string, define func(fl *pflag.FlagSet)) {
	cmd.Flags().SortFlags = false
	fl := pflag.NewFlagSet("", pflag.ContinueOnError)
	fl.SortFlags = false
	define(fl)
	fl.VisitAll(func(f *pflag.Flag) {
		f.Annotations = map[string][]string{topicKey: {heading}}
		cmd.Flags().AddFlag(f)
	})
}

// Groups of commands in the help text of the root.
const (
	groupCloud = "cloud"
	groupFiles = "files"
	groupOther = "other"
)

func groups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupCloud, Title: "Images in the cloud"},
		{ID: groupFiles, Title: "Disk images and ZVHD2 files"},
		{ID: groupOther, Title: "Tools"},
	}
}

// mostColumns is the widest that prose gets: longer lines are hard to read.
const mostColumns = 100

// columns returns the width of the terminal that stream is, else COLUMNS, else 80.
func (a *app) columns(stream any) int {
	if f, ok := stream.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	if n, err := strconv.Atoi(a.getenv("COLUMNS")); err == nil && n >= 20 {
		return n
	}
	return 80
}

// help prints the help text of cmd, as wide as the terminal.
func (a *app) help(cmd *cobra.Command) {
	h := helpText{width: a.columns(a.stdout), paint: a.painter(a.stdout)}
	if text := cmd.Long; text != "" || cmd.Short != "" {
		if text == "" {
			text = strings.ToUpper(cmd.Short[:1]) + cmd.Short[1:] + "."
		}
		h.write(reflow(text, h.width) + "\n")
	}
	h.heading("Usage")
	if cmd.Runnable() && !cmd.HasAvailableSubCommands() || len(cmd.Aliases) > 0 || cmd.HasParent() && cmd.Args != nil {
		h.write("  " + cmd.UseLine() + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		h.write("  " + cmd.CommandPath() + " COMMAND\n")
	}
	if cmd.HasExample() {
		h.heading("Examples")
		for line := range strings.Lines(cmd.Example) {
			h.write(continued(strings.TrimRight(line, "\n"), h.width) + "\n")
		}
	}
	h.commands(cmd)
	h.flags(cmd)
	if cmd.HasAvailableSubCommands() {
		h.write("\n" + reflow("Run '"+cmd.CommandPath()+" COMMAND --help' for more about a command.", h.width) + "\n")
	}
	_, _ = io.WriteString(a.stdout, h.b.String())
}

type helpText struct {
	b     strings.Builder
	width int
	paint painter
}

func (h *helpText) write(text string) { h.b.WriteString(text) }

func (h *helpText) heading(text string) { h.write("\n" + h.paint(bold, text+":") + "\n") }

// commands lists the subcommands under the titles of their groups.
func (h *helpText) commands(cmd *cobra.Command) {
	list := func(title, group string) {
		first := true
		for _, c := range cmd.Commands() {
			if !c.IsAvailableCommand() && c.Name() != "help" || c.GroupID != group {
				continue
			}
			if first {
				h.heading(title)
				first = false
			}
			h.write(hanging(fmt.Sprintf("  %-*s ", cmd.NamePadding(), c.Name()), c.Short, h.width))
		}
	}
	for _, g := range cmd.Groups() {
		list(g.Title, g.ID)
	}
	list("Commands", "")
}

// flags lists the flags of a command under their topics.
func (h *helpText) flags(cmd *cobra.Command) {
	for _, heading := range topics {
		fl := pflag.NewFlagSet("", pflag.ContinueOnError)
		fl.SortFlags = false
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			of := ""
			if t := f.Annotations[topicKey]; len(t) > 0 {
				of = t[0]
			}
			if of == heading && cmd.Root().PersistentFlags().Lookup(f.Name) != f {
				fl.AddFlag(f)
			}
		})
		if fl.HasAvailableFlags() {
			title := "Flags"
			if heading != "" {
				title = heading + " flags"
			}
			h.heading(title)
			h.write(flagUsages(fl, h.width))
		}
	}
	h.heading("Global flags")
	h.write(flagUsages(cmd.Root().PersistentFlags(), h.width))
}

// flagUsages lists each flag with its help beside it, or below it where the
// names leave no room.
func flagUsages(fl *pflag.FlagSet, width int) string {
	var b strings.Builder
	fl.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "      --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if d := f.DefValue; d != "" && d != "0" && d != "false" && d != "[]" && d != "0s" && !strings.Contains(usage, "(default") {
			usage += " (default " + d + ")"
		}
		b.WriteString(hanging(fmt.Sprintf("%-26s ", name), usage, width))
	})
	return b.String()
}

// hanging puts text after a label, wrapped to width and indented to the end of
// a short label.
func hanging(label, text string, width int) string {
	indent := min(len(label), 28)
	room := max(min(width, mostColumns)-indent, 24)
	if width < 72 {
		indent, room = 10, max(width-10, 24)
	}
	lines := strings.Split(wrap(text, room), "\n")
	out := label
	if len(label) > indent {
		out = strings.TrimRight(label, " ") + "\n" + strings.Repeat(" ", indent)
	}
	return out + strings.Join(lines, "\n"+strings.Repeat(" ", indent)) + "\n"
}

// reflow wraps the paragraphs of a text to width. Lines that begin with a space
// stay as they are.
func reflow(text string, width int) string {
	width = min(width, mostColumns)
	var out []string
	for _, paragraph := range strings.Split(text, "\n\n") {
		if strings.HasPrefix(paragraph, " ") {
			out = append(out, paragraph)
			continue
		}
		out = append(out, wrap(strings.Join(strings.Fields(paragraph), " "), width))
	}
	return strings.Join(out, "\n\n")
}

// wrap breaks a line at spaces so that no part has more than width characters,
// unless a word has.
func wrap(text string, width int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return strings.Join(append(lines, line), "\n")
}

// continued breaks a shell command before its flags, pipes and last words where
// it has more than width characters. What it returns is still a command.
func continued(line string, width int) string {
	if len(line) <= width || strings.HasPrefix(strings.TrimSpace(line), "#") {
		return line
	}
	out, rest, indent := "", line, "      "
	for len(rest) > width {
		at := breakable(rest, width-2)
		if at <= len(indent) {
			break
		}
		out += rest[:at] + " \\\n"
		rest = indent + strings.TrimLeft(rest[at:], " ")
	}
	return out + rest
}

// breakable returns the last space before limit outside of quotes, not between
// a flag and its value where there is another.
func breakable(line string, limit int) int {
	var quote rune
	last, flag := 0, 0
	for i, r := range line {
		switch {
		case i > limit:
			if flag > 6 {
				return flag
			}
			return last
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == ' ' && strings.TrimLeft(line[:i], " ") != "":
			last = i
			if strings.HasPrefix(line[i+1:], "--") || strings.HasPrefix(line[i+1:], "|") || strings.HasPrefix(line[i+1:], "obs://") {
				flag = i
			}
		}
	}
	return 0
}
