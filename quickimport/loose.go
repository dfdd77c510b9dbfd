package quickimport

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The service's answers differ from their documentation: numbers, objects and
// null where strings are expected, and strings where numbers are. What follows
// reads whatever is there.

// looseText is a JSON value as text: a string or a number as it is, an object by
// what in it is called like a text; "" for everything else.
func looseText(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case json.Number:
		return v.String()
	case map[string]any:
		for _, k := range []string{"message", "text", "msg", "value", "reason", "code"} {
			if s, ok := v[k].(string); ok {
				return strings.TrimSpace(s)
			}
		}
	}
	return ""
}

// looseNumber is a JSON value as a number, if it is one.
func looseNumber(v any) (n float64, ok bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), "%"), 64)
		return n, err == nil
	case map[string]any:
		return looseNumber(v["value"])
	}
	return 0, false
}

// looseObject is a JSON value as an object: itself, the first object of a list,
// or one that is encoded in a string. nil if there is none.
func looseObject(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []any:
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				return m
			}
		}
	case string:
		var m map[string]any
		if json.Unmarshal([]byte(v), &m) == nil {
			return m
		}
	}
	return nil
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
