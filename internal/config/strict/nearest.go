package strict

import (
	"fmt"
	"sort"
	"strings"
)

// didYouMean is ", did you mean …" or the list of what there is.
func didYouMean(word string, known []string) string {
	if near, ok := Nearest(word, known); ok {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	sort.Strings(known)
	return ", known here: " + strings.Join(known, ", ")
}

// Nearest returns the word of known that word most probably stands for, if any
// comes close: by at most a third of its letters, in any case of letters.
func Nearest(word string, known []string) (string, bool) {
	known = append([]string(nil), known...)
	sort.Strings(known) // the first of equals, the same every time
	best, bestAt := "", len(word)+1
	for _, k := range known {
		if dist := distance(strings.ToLower(word), strings.ToLower(k)); dist < bestAt {
			best, bestAt = k, dist
		}
	}
	limit := max(len(word), len(best)) / 3
	return best, best != "" && bestAt <= max(limit, 1) && bestAt < len(best)
}

// distance counts the letters to insert, delete, replace or swap with a
// neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b)) // nobody mistypes so much
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
