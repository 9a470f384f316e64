package shop;

import dev.jobqueue.spring.AfterCommit;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Service;
import org.springframework.transaction.annotation.Transactional;

/** Orders in the shop's own database. */
@Service
class Orders {
    private final JdbcClient sql;
    private final AfterCommit afterCommit;

    Orders(JdbcClient sql, AfterCommit afterCommit) {
        this.sql = sql;
        this.afterCommit = afterCommit;
    }

    /** An order that can't be stored gets no receipt. What the enqueue throws comes once the order is stored. */
    @Transactional
    public void place(Receipts.Order order) {
        afterCommit.enqueue(Receipts.SEND_RECEIPT, order);
        sql.sql("INSERT INTO orders (number, email) VALUES (?, ?)")
                .params(order.number(), order.email())
                .update();
    }
}
