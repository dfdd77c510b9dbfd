package command

// A style is an ANSI sequence that changes how text looks.
type style string

const (
	bold   style = "\x1b[1m"
	red    style = "\x1b[1;31m"
	yellow style = "\x1b[33m"
	green  style = "\x1b[32m"
)

// A painter gives text a style, or leaves it as it is.
type painter func(s style, text string) string

// painter colours what goes to stream: a terminal that can, unless NO_COLOR
// (https://no-color.org) is set.
func (a *app) painter(stream any) painter {
	if !isTerminal(stream) || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return func(_ style, text string) string { return text }
	}
	return func(s style, text string) string { return string(s) + text + "\x1b[0m" }
}
