package jobqueue

import (
	"maps"
	"slices"
	"strings"
)

// named is the contract's name of a number. One that this version does not know is read as that of 0.
func named[Name ~string](names map[int32]string, number int32) Name {
	if name, ok := names[number]; ok {
		return Name(name)
	}
	return Name(names[0])
}

// numbered is the contract's number of a name; 0 of an empty one.
func numbered[Name ~string](field string, numbers map[string]int32, name Name) (int32, error) {
	if name == "" {
		return 0, nil
	}
	number, ok := numbers[string(name)]
	if !ok {
		known := slices.Sorted(maps.Keys(numbers))
		return 0, invalid(field, "%q is none; there are %s", name, strings.Join(known, ", "))
	}
	return number, nil
}
