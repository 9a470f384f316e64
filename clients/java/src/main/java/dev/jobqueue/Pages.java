package dev.jobqueue;

import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/** A list that is read page by page as it is asked for. */
final class Pages {
    private Pages() {}

    /**
     * All of a list.
     *
     * @param read reads the page of a token; that of the first page is empty
     * @param items what is on a page
     * @param next the token of the page after it; empty: it is the last one
     */
    static <P, A> Stream<A> stream(Function<String, P> read, Function<P, List<A>> items, Function<P, String> next) {
        var all = new Iterator<A>() {
            private Iterator<A> page = List.<A>of().iterator();
            private String token = "";
            private boolean last;

            @Override
            public boolean hasNext() {
                while (!page.hasNext() && !last) {
                    var found = read.apply(token);
                    page = items.apply(found).iterator();
                    token = next.apply(found);
                    last = token.isEmpty();
                }
                return page.hasNext();
            }

            @Override
            public A next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                return page.next();
            }
        };
        var characteristics = Spliterator.ORDERED | Spliterator.NONNULL | Spliterator.IMMUTABLE;
        return StreamSupport.stream(Spliterators.spliteratorUnknownSize(all, characteristics), false);
    }
}
